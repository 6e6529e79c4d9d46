package testrig;

import de.bwaldvogel.mongo.MongoDatabase;
import de.bwaldvogel.mongo.backend.CollectionOptions;
import de.bwaldvogel.mongo.backend.CursorRegistry;
import de.bwaldvogel.mongo.backend.memory.MemoryCollection;
import de.bwaldvogel.mongo.bson.Document;
import java.util.Collection;
import java.util.HashMap;
import java.util.HashSet;
import java.util.Map;
import java.util.Set;

/**
 * A collection that looks strings up in a long {@code $in}; the library compares each document with each of them.
 */
final class IndexedCollection extends MemoryCollection {

    /** A query, and its fields whose condition is nothing but {@code $in} with strings. */
    private record Memberships(Document query, Map<String, Set<Object>> byField) {}

    private volatile Memberships last = new Memberships(new Document(), Map.of());

    IndexedCollection(MongoDatabase database, String name, CollectionOptions options, CursorRegistry cursors) {
        super(database, name, options, cursors);
    }

    @Override
    protected boolean documentMatchesQuery(Document document, Document query) {
        Map<String, Set<Object>> memberships = membershipsOf(query);
        for (Map.Entry<String, Set<Object>> entry : memberships.entrySet()) {
            if (!(document.get(entry.getKey()) instanceof String value)) {
                return super.documentMatchesQuery(document, query);
            }
            if (!entry.getValue().contains(value)) {
                return false;
            }
        }
        return super.documentMatchesQuery(document, memberships.isEmpty() ? query : without(query, memberships));
    }

    private Map<String, Set<Object>> membershipsOf(Document query) {
        Memberships known = last;
        if (known.query() != query) {
            known = new Memberships(query, findMemberships(query));
            last = known;
        }
        return known.byField();
    }

    private static Map<String, Set<Object>> findMemberships(Document query) {
        Map<String, Set<Object>> found = new HashMap<>();
        query.forEach((field, condition) -> {
            if (condition instanceof Document operators
                    && operators.keySet().equals(Set.of("$in"))
                    && operators.get("$in") instanceof Collection<?> values
                    && values.stream().allMatch(String.class::isInstance)
                    && field.indexOf('.') < 0) {
                found.put(field, new HashSet<>(values));
            }
        });
        return found;
    }

    private static Document without(Document query, Map<String, Set<Object>> memberships) {
        Document rest = new Document();
        query.forEach((field, condition) -> {
            if (!memberships.containsKey(field)) {
                rest.put(field, condition);
            }
        });
        return rest;
    }
}
