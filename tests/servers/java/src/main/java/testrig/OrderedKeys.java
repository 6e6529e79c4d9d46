package testrig;

import de.bwaldvogel.mongo.backend.Index;
import de.bwaldvogel.mongo.backend.IndexKey;
import de.bwaldvogel.mongo.backend.KeyValue;
import de.bwaldvogel.mongo.backend.ValueComparator;
import de.bwaldvogel.mongo.bson.BsonRegularExpression;
import de.bwaldvogel.mongo.bson.Document;
import de.bwaldvogel.mongo.bson.MaxKey;
import java.util.ArrayList;
import java.util.Collection;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;
import java.util.TreeMap;

/**
 * Documents' positions in the order of an index's keys. What it gives for a query may hold more than what matches
 * (the collection filters it once more) and never less.
 */
final class OrderedKeys {

    private static final Set<String> RANGE = Set.of("$gt", "$gte", "$lt", "$lte");

    private final Index<Integer> index;
    private final TreeMap<List<Object>, Integer> positions = new TreeMap<>(OrderedKeys::compare);

    OrderedKeys(Index<Integer> index) {
        this.index = index;
    }

    int size() {
        return positions.size();
    }

    void add(Document document, Integer position) {
        for (KeyValue key : index.getKeyValues(document)) {
            positions.put(entry(key, document), position);
        }
    }

    Integer remove(Document document) {
        Integer position = null;
        for (KeyValue key : index.getKeyValues(document)) {
            position = positions.remove(entry(key, document));
        }
        return position;
    }

    boolean canHandle(Document query) {
        if (isUsable(query.get(firstField()), query.containsKey(firstField()))) {
            return true;
        }
        List<?> branches = branches(query);
        return !branches.isEmpty() && branches.stream().allMatch(branch -> canHandle((Document) branch));
    }

    Collection<Integer> positions(Document query) {
        Set<Integer> found = new LinkedHashSet<>();
        if (isUsable(query.get(firstField()), query.containsKey(firstField()))) {
            collect(query, 0, List.of(), found);
        } else {
            branches(query).forEach(branch -> found.addAll(positions((Document) branch)));
        }
        return found;
    }

    /** Follows the query down the keys, one choice of values at a time, as far as it speaks of them. */
    private void collect(Document query, int depth, List<Object> prefix, Set<Integer> found) {
        List<IndexKey> keys = index.getKeys();
        String field = depth < keys.size() ? keys.get(depth).getKey() : null;
        Object condition = field == null ? null : query.get(field);
        if (field == null || !isUsable(condition, query.containsKey(field))) {
            found.addAll(positions.subMap(prefix, with(prefix, MaxKey.getInstance())).values());
        } else if (isOperators(condition, RANGE)) {
            found.addAll(range((Document) condition, prefix));
        } else {
            choices(condition).forEach(value -> collect(query, depth + 1, with(prefix, value), found));
        }
    }

    private Collection<Integer> range(Document condition, List<Object> prefix) {
        Object low = condition.getOrDefault("$gte", condition.get("$gt"));
        Object high = condition.getOrDefault("$lte", condition.get("$lt"));
        List<Object> from = low == null ? prefix : with(prefix, low);
        List<Object> to = high == null ? prefix : with(prefix, high);
        List<Object> end = with(to, MaxKey.getInstance());
        return compare(from, end) > 0 ? List.of() : positions.subMap(from, end).values();
    }

    private static boolean isUsable(Object condition, boolean present) {
        if (!present || condition instanceof Collection || BsonRegularExpression.isRegularExpression(condition)) {
            return false;
        }
        return !(condition instanceof Document)
            || isOperators(condition, RANGE)
            || isOperators(condition, Set.of("$eq"))
            || isOperators(condition, Set.of("$in")) && choices(condition).stream().allMatch(OrderedKeys::isPlain);
    }

    private static boolean isOperators(Object condition, Set<String> operators) {
        return condition instanceof Document document
            && !document.isEmpty()
            && operators.containsAll(document.keySet());
    }

    private static boolean isPlain(Object value) {
        return !(value instanceof Collection)
            && !(value instanceof Document)
            && !BsonRegularExpression.isRegularExpression(value);
    }

    private static Collection<?> choices(Object condition) {
        if (!(condition instanceof Document document)) {
            List<Object> single = new ArrayList<>();
            single.add(condition);
            return single;
        }
        return document.containsKey("$in") ? (Collection<?>) document.get("$in") : choices(document.get("$eq"));
    }

    private static List<?> branches(Document query) {
        return query.get("$or") instanceof List<?> branches ? branches : List.of();
    }

    private String firstField() {
        return index.getKeys().get(0).getKey();
    }

    /** The document's id makes the entry unique, and lets it be found again without its position. */
    private static List<Object> entry(KeyValue key, Document document) {
        List<Object> values = new ArrayList<>(key.size() + 1);
        key.forEach(values::add);
        values.add(document.get("_id"));
        return values;
    }

    private static List<Object> with(List<Object> prefix, Object value) {
        List<Object> longer = new ArrayList<>(prefix);
        longer.add(value);
        return longer;
    }

    private static int compare(List<Object> left, List<Object> right) {
        for (int i = 0; i < Math.min(left.size(), right.size()); i++) {
            int order = ValueComparator.asc().compare(left.get(i), right.get(i));
            if (order != 0) {
                return order;
            }
        }
        return Integer.compare(left.size(), right.size());
    }
}
