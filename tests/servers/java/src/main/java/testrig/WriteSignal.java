package testrig;

/** Counts writes, and lets a reader wait for the next one. */
final class WriteSignal {

    private long count;

    synchronized long count() {
        return count;
    }

    synchronized void announce() {
        count++;
        notifyAll();
    }

    /** True when a write came after {@code seen}, false when the deadline (of System.nanoTime) passed first. */
    synchronized boolean awaitAfter(long seen, long deadline) {
        while (count == seen) {
            long millis = (deadline - System.nanoTime()) / 1_000_000;
            if (millis <= 0) {
                return false;
            }
            try {
                wait(millis);
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
                return false;
            }
        }
        return true;
    }
}
