package testrig;

import de.bwaldvogel.mongo.backend.AbstractCursor;
import de.bwaldvogel.mongo.backend.CursorRegistry;
import de.bwaldvogel.mongo.bson.BinData;
import de.bwaldvogel.mongo.bson.Document;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Iterator;
import java.util.List;
import java.util.Map;

/**
 * Answers in batches as MongoDB does: 101 documents first unless asked otherwise, then as many as asked for, and
 * never much more than 16 MB at once. The library answers with everything at once, which drivers refuse from 48 MB.
 */
final class Batches {

    private static final int FIRST_BATCH = 101;
    private static final long MAX_BYTES = 16L * 1024 * 1024;
    private static final int BYTES_PER_VALUE = 16;

    private Batches() {}

    /** Keeps the first batch in a reply that holds everything, and registers a cursor for the rest. */
    static void cut(Document reply, Number batchSize, boolean single, CursorRegistry registry) {
        Document cursor = (Document) reply.get("cursor");
        Rest rest = new Rest(registry.generateCursorId(), (List<?>) cursor.get("firstBatch"));
        int size = batchSize == null ? FIRST_BATCH : batchSize.intValue();
        cursor.put("firstBatch", size == 0 ? List.of() : rest.takeDocuments(size));
        if (!rest.isEmpty() && !single) {
            registry.add(rest);
            cursor.put("id", rest.getId());
        }
    }

    private static final class Rest extends AbstractCursor {

        private final Iterator<?> documents;

        Rest(long id, List<?> documents) {
            super(id);
            this.documents = documents.iterator();
        }

        @Override
        public synchronized boolean isEmpty() {
            return !documents.hasNext();
        }

        @Override
        public synchronized List<Document> takeDocuments(int limit) {
            List<Document> batch = new ArrayList<>();
            long bytes = 0;
            while (documents.hasNext() && bytes < MAX_BYTES && (limit <= 0 || batch.size() < limit)) {
                Document document = (Document) documents.next();
                bytes += roughSize(document);
                batch.add(document);
            }
            return batch;
        }
    }

    private static long roughSize(Object value) {
        if (value instanceof String string) {
            return BYTES_PER_VALUE + string.length();
        }
        if (value instanceof BinData binary) {
            return BYTES_PER_VALUE + binary.getData().length;
        }
        if (value instanceof byte[] bytes) {
            return BYTES_PER_VALUE + bytes.length;
        }
        if (value instanceof Map<?, ?> map) {
            return roughSize(map.keySet()) + roughSize(map.values());
        }
        if (value instanceof Collection<?> values) {
            return values.stream().mapToLong(Batches::roughSize).sum();
        }
        return BYTES_PER_VALUE;
    }
}
