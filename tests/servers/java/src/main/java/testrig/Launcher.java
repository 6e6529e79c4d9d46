package testrig;

import de.bwaldvogel.mongo.MongoServer;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.util.Arrays;

/**
 * Starts the server on a free port of the loopback interface, prints {@code port N} and lives until its standard
 * input ends, so it cannot outlive the test process that holds the other end of the pipe.
 *
 * <p>{@code --no-change-streams} starts it as a standalone server that refuses change streams.
 */
public final class Launcher {

    /** A getMore on a change stream holds its thread while it waits, so there must be more threads than connections. */
    private static final int WORKER_THREADS = 256;

    private Launcher() {}

    public static void main(String[] arguments) throws IOException {
        TestBackend backend = new TestBackend();
        backend.setChangeStreams(!Arrays.asList(arguments).contains("--no-change-streams"));
        MongoServer server = new MongoServer(backend);
        server.bind(new InetSocketAddress("127.0.0.1", 0), 1, WORKER_THREADS);
        System.out.println("port " + server.getLocalAddress().getPort());
        System.out.flush();
        while (System.in.read() != -1) {
            // what is written to us is of no interest, only the end is
        }
        Runtime.getRuntime().halt(0);
    }
}
