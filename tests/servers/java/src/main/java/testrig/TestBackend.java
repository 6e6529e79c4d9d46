package testrig;

import de.bwaldvogel.mongo.MongoVersion;
import de.bwaldvogel.mongo.backend.memory.MemoryBackend;
import de.bwaldvogel.mongo.backend.memory.MemoryDatabase;
import de.bwaldvogel.mongo.bson.BsonTimestamp;
import de.bwaldvogel.mongo.bson.Document;
import de.bwaldvogel.mongo.exception.MongoServerError;
import io.netty.channel.Channel;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * The memory backend, made acceptable to today's drivers and observable by tests: it reports MongoDB 4.4, answers in
 * batches, waits in getMore on a change stream as a real server does, counts what it is asked
 * ({@code serverCounters}), fails on request ({@code configureFailPoint}) and can become a server without change
 * streams ({@code setChangeStreams}).
 *
 * <p>Not here: users, transactions, rollback, explain.
 */
final class TestBackend extends MemoryBackend {

    private static final int WIRE_VERSION_OF_4_4 = 9;
    private static final long DEFAULT_AWAIT_MILLIS = 1000;
    private static final Set<String> WRITES = Set.of("insert", "update", "delete", "findAndModify", "drop");

    private final Counters counters = new Counters();
    private final FailPoint failPoint = new FailPoint();
    private final WriteSignal writes = new WriteSignal();
    private volatile boolean changeStreams;

    TestBackend() {
        version(new MongoVersion() {
            @Override
            public List<Integer> getVersionArray() {
                return List.of(4, 4, 0);
            }

            @Override
            public int getWireVersion() {
                return WIRE_VERSION_OF_4_4;
            }
        });
    }

    void setChangeStreams(boolean enabled) {
        if (enabled) {
            enableOplog();
        } else {
            disableOplog();
        }
        changeStreams = enabled;
    }

    @Override
    public MemoryDatabase openOrCreateDatabase(String databaseName) {
        return new IndexedDatabase(databaseName, getCursorRegistry());
    }

    @Override
    public Document handleCommand(Channel channel, String database, String command, Document query) {
        switch (command) {
            case "serverCounters":
                return okay(counters.report(database, Boolean.TRUE.equals(query.get("reset"))));
            case "configureFailPoint":
                failPoint.configure(query);
                return okay(new Document());
            case "setChangeStreams":
                setChangeStreams(Boolean.TRUE.equals(query.get(command)));
                return okay(new Document());
            default:
                return handleCounted(channel, database, command, query);
        }
    }

    private Document handleCounted(Channel channel, String database, String command, Document query) {
        counters.countCommand(database, command, query);
        failPoint.apply(channel, command);
        boolean stream = isChangeStream(command, query);
        if (stream && !changeStreams) {
            throw new MongoServerError(40573, "Location40573",
                "The $changeStream stage is only supported on replica sets");
        }
        Document reply = stream ? openStream(channel, database, query) : answer(channel, database, command, query);
        if (WRITES.contains(command)) {
            writes.announce();
        }
        counters.countReply(database, reply);
        return reply;
    }

    /** Drivers want to know the time at which a stream begins. */
    private Document openStream(Channel channel, String database, Document query) {
        return super.handleCommand(channel, database, "aggregate", query)
            .append("operationTime", new BsonTimestamp(getClock().instant(), 0));
    }

    private Document answer(Channel channel, String database, String command, Document query) {
        boolean cutsItself = !command.equals("find") && !command.equals("aggregate");
        if (cutsItself || database.equals("admin")) {
            return super.handleCommand(channel, database, command, query);
        }
        Object cursor = query.get("cursor");
        Object size = cursor instanceof Document given ? given.get("batchSize") : query.remove("batchSize");
        Document reply = super.handleCommand(channel, database, command, query);
        Batches.cut(reply, (Number) size, Boolean.TRUE.equals(query.get("singleBatch")), getCursorRegistry());
        return reply;
    }

    /** Waits for a write where the library would answer at once with nothing, and the driver would spin. */
    @Override
    protected Document handleGetMore(String database, String command, Document query) {
        Object given = query.get("maxTimeMS");
        long wait = given == null ? DEFAULT_AWAIT_MILLIS : ((Number) given).longValue();
        long deadline = System.nanoTime() + wait * 1_000_000;
        while (true) {
            long seen = writes.count();
            Document reply = super.handleGetMore(database, command, query);
            if (!isOpenAndEmpty(reply) || !writes.awaitAfter(seen, deadline)) {
                return reply;
            }
        }
    }

    private static boolean isOpenAndEmpty(Document reply) {
        Document cursor = (Document) reply.get("cursor");
        boolean open = ((Number) cursor.get("id")).longValue() != 0;
        return open && ((List<?>) cursor.get("nextBatch")).isEmpty();
    }

    private static boolean isChangeStream(String command, Document query) {
        if (!command.equals("aggregate") || !(query.get("pipeline") instanceof List<?> stages) || stages.isEmpty()) {
            return false;
        }
        return ((Map<?, ?>) stages.get(0)).containsKey("$changeStream");
    }

    private static Document okay(Document document) {
        return document.append("ok", 1.0);
    }
}
