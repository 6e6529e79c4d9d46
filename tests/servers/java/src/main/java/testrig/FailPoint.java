package testrig;

import de.bwaldvogel.mongo.bson.Document;
import de.bwaldvogel.mongo.exception.MongoServerError;
import io.netty.channel.Channel;
import java.util.List;

/**
 * MongoDB's own {@code configureFailPoint: "failCommand"}: the named commands fail with {@code errorCode} or lose
 * their connection ({@code closeConnection}), {@code mode: {times: N}}, "alwaysOn" or "off".
 */
final class FailPoint {

    private List<?> commands = List.of();
    private long times;
    private int errorCode;
    private boolean closeConnection;

    synchronized void configure(Document query) {
        Object mode = query.get("mode");
        Document data = query.get("data") instanceof Document given ? given : new Document();
        times = mode instanceof Document counted ? ((Number) counted.get("times")).longValue()
            : "alwaysOn".equals(mode) ? Long.MAX_VALUE : 0;
        commands = (List<?>) data.getOrDefault("failCommands", List.of());
        errorCode = ((Number) data.getOrDefault("errorCode", 8)).intValue();
        closeConnection = Boolean.TRUE.equals(data.get("closeConnection"));
    }

    synchronized void apply(Channel channel, String command) {
        if (times <= 0 || !commands.contains(command)) {
            return;
        }
        times--;
        if (closeConnection) {
            channel.close();
        }
        throw new MongoServerError(errorCode, "FailPoint", "failing " + command + " because a test asked for it");
    }
}
