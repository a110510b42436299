package io.standby.perf;

/** Carries what went wrong on one thread to another. */
final class Failure {
    private volatile Throwable cause;

    interface Body {
        void run() throws Exception;
    }

    void guard(final Body body) {
        try {
            body.run();
        } catch (final Throwable caught) {
            cause = caught;
        }
    }

    void rethrow() {
        if (null != cause) {
            throw new IllegalStateException("the other side failed", cause);
        }
    }
}
