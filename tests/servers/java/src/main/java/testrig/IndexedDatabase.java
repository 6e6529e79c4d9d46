package testrig;

import de.bwaldvogel.mongo.MongoCollection;
import de.bwaldvogel.mongo.backend.CollectionOptions;
import de.bwaldvogel.mongo.backend.CursorRegistry;
import de.bwaldvogel.mongo.backend.Index;
import de.bwaldvogel.mongo.backend.IndexKey;
import de.bwaldvogel.mongo.backend.memory.MemoryCollection;
import de.bwaldvogel.mongo.backend.memory.MemoryDatabase;
import de.bwaldvogel.mongo.backend.memory.index.MemoryUniqueIndex;
import de.bwaldvogel.mongo.bson.Document;
import java.util.List;

/**
 * A database whose indexes answer what MongoDB's answer: equality, {@code $in} and ranges over a prefix of the keys.
 * The library ignores indexes that are not unique and scans the collection instead.
 */
final class IndexedDatabase extends MemoryDatabase {

    IndexedDatabase(String databaseName, CursorRegistry cursorRegistry) {
        super(databaseName, cursorRegistry);
    }

    @Override
    protected MemoryCollection openOrCreateCollection(String name, CollectionOptions options) {
        return new IndexedCollection(this, name, options, cursorRegistry);
    }

    @Override
    protected Index<Integer> openOrCreateSecondaryIndex(
            String collection, String name, List<IndexKey> keys, boolean sparse) {
        return sparse
            ? super.openOrCreateSecondaryIndex(collection, name, keys, true)
            : new SecondaryIndex(name, keys);
    }

    @Override
    protected Index<Integer> openOrCreateUniqueIndex(
            String collection, String name, List<IndexKey> keys, boolean sparse) {
        return sparse ? new MemoryUniqueIndex(name, keys, true) : new UniqueIndex(name, keys);
    }

    /** The library's unique index, which only answers queries on exactly its keys, and an ordered one beside it. */
    private static final class UniqueIndex extends MemoryUniqueIndex {

        private final OrderedKeys ordered = new OrderedKeys(this);

        UniqueIndex(String name, List<IndexKey> keys) {
            super(name, keys, false);
        }

        @Override
        public synchronized void add(Document document, Integer position, MongoCollection<Integer> collection) {
            super.add(document, position, collection);
            ordered.add(document, position);
        }

        @Override
        public synchronized Integer remove(Document document) {
            ordered.remove(document);
            return super.remove(document);
        }

        @Override
        public synchronized boolean canHandle(Document query) {
            return super.canHandle(query) || ordered.canHandle(query);
        }

        @Override
        public synchronized Iterable<Integer> getPositions(Document query) {
            return super.canHandle(query) ? super.getPositions(query) : ordered.positions(query);
        }
    }

    private static final class SecondaryIndex extends Index<Integer> {

        private final OrderedKeys ordered = new OrderedKeys(this);

        SecondaryIndex(String name, List<IndexKey> keys) {
            super(name, keys, false);
        }

        @Override
        public Integer getPosition(Document document) {
            return null; // the index on _id knows
        }

        @Override
        public void checkAdd(Document document, MongoCollection<Integer> collection) {
            // any document may be added
        }

        @Override
        public void add(Document document, Integer position, MongoCollection<Integer> collection) {
            ordered.add(document, position);
        }

        @Override
        public Integer remove(Document document) {
            return ordered.remove(document);
        }

        @Override
        public boolean canHandle(Document query) {
            return ordered.canHandle(query);
        }

        @Override
        public Iterable<Integer> getPositions(Document query) {
            return ordered.positions(query);
        }

        @Override
        public long getCount() {
            return ordered.size();
        }

        @Override
        public long getDataSize() {
            return ordered.size();
        }

        @Override
        public void checkUpdate(Document before, Document after, MongoCollection<Integer> collection) {
            // any change may be made
        }

        @Override
        public void updateInPlace(
                Document before, Document after, Integer position, MongoCollection<Integer> collection) {
            ordered.remove(before);
            ordered.add(after, position);
        }

        @Override
        public void drop() {
            // nothing is kept elsewhere
        }
    }
}
