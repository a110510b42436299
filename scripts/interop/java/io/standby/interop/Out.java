package io.standby.interop;

/** Whole lines on stdout, flushed one by one: tests read them while the process runs and after it was killed. */
final class Out {
    private Out() {
    }

    static void line(final String text) {
        synchronized (System.out) {
            System.out.println(text);
            System.out.flush();
        }
    }

    static void error(final String text) {
        synchronized (System.err) {
            System.err.println(text);
            System.err.flush();
        }
    }
}
