package testrig;

import de.bwaldvogel.mongo.bson.Document;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentMap;
import java.util.concurrent.atomic.LongAdder;

/**
 * What was asked of each database and what it gave: commands by name, commands by collection, returned documents by
 * collection, and how often each top-level field was among them (did anyone read {@code outputs.value}?).
 */
final class Counters {

    private static final class Tally extends ConcurrentHashMap<String, LongAdder> {
        void add(String key, long amount) {
            computeIfAbsent(key, ignored -> new LongAdder()).add(amount);
        }

        Document report() {
            Document document = new Document();
            forEach((key, adder) -> document.put(key, adder.sum()));
            return document;
        }
    }

    private static final class Database {
        final Tally commands = new Tally();
        final Tally requests = new Tally();
        final Tally documents = new Tally();
        final ConcurrentMap<String, Tally> fields = new ConcurrentHashMap<>();

        Document report() {
            Document byCollection = new Document();
            fields.forEach((collection, tally) -> byCollection.put(collection, tally.report()));
            return new Document("commands", commands.report())
                .append("requests", requests.report())
                .append("documents", documents.report())
                .append("fields", byCollection);
        }
    }

    private final ConcurrentMap<String, Database> databases = new ConcurrentHashMap<>();

    Document report(String database, boolean reset) {
        Database counted = reset ? databases.remove(database) : databases.get(database);
        return (counted == null ? new Database() : counted).report();
    }

    void countCommand(String database, String command, Document query) {
        Database counted = databases.computeIfAbsent(database, ignored -> new Database());
        counted.commands.add(command, 1);
        Object collection = command.equals("getMore") ? query.get("collection") : query.get(command);
        if (collection instanceof String name) {
            counted.requests.add(name, 1);
        }
    }

    void countReply(String database, Document reply) {
        if (!(reply.get("cursor") instanceof Document cursor) || !(cursor.get("ns") instanceof String namespace)) {
            return;
        }
        Object batch = cursor.getOrDefault("firstBatch", cursor.get("nextBatch"));
        if (batch instanceof Iterable<?> documents) {
            String collection = namespace.substring(namespace.indexOf('.') + 1);
            documents.forEach(document -> countDocument(database, collection, (Map<?, ?>) document));
        }
    }

    private void countDocument(String database, String collection, Map<?, ?> document) {
        Database counted = databases.computeIfAbsent(database, ignored -> new Database());
        counted.documents.add(collection, 1);
        Tally fields = counted.fields.computeIfAbsent(collection, ignored -> new Tally());
        document.keySet().forEach(field -> fields.add((String) field, 1));
    }
}
