package io.standby.perf;

import io.aeron.Image;
import io.aeron.Publication;
import io.aeron.Subscription;
import io.aeron.logbuffer.FragmentHandler;
import org.agrona.concurrent.UnsafeBuffer;

import java.nio.ByteBuffer;
import java.util.concurrent.TimeUnit;

/** Messages one way, as fast as they go. The receiver checks that each is the next one. */
final class OneWay {
    private static final int OFFERS_PER_CYCLE_MAX = 64;
    private static final int FRAGMENTS_PER_POLL_MAX = 256;
    private static final long LIMIT_NS = TimeUnit.SECONDS.toNanos(30);

    private final TransportSettings settings;
    private final int messageLength;
    private volatile boolean isDone;

    OneWay(final TransportSettings settings, final int messageLength) {
        this.settings = settings;
        this.messageLength = messageLength;
    }

    record Taken(long messageCount, long durationNs) {
    }

    Taken run(final long warmUpNs, final long durationNs) throws Exception {
        final Failure failure = new Failure();
        final Thread sender = new Thread(() -> failure.guard(this::send), "sender");
        sender.start();
        try {
            return receive(warmUpNs, durationNs, failure);
        } finally {
            isDone = true;
            sender.join();
            failure.rethrow();
        }
    }

    private void send() throws Exception {
        Pinning.pinThisThread(settings.secondCore());
        try (Side side = new Side(settings.sideDirectory(1), settings)) {
            final Publication publication = side.addPublication(settings.channel(0), TransportSettings.STREAM_ID);
            final UnsafeBuffer message = new UnsafeBuffer(ByteBuffer.allocateDirect(messageLength));
            long sequence = 0;
            while (!isDone) {
                for (int i = 0; i < OFFERS_PER_CYCLE_MAX; i++) {
                    message.putLong(0, sequence);
                    if (publication.offer(message, 0, messageLength) < 0) {
                        break;
                    }
                    sequence++;
                }
                side.cycle();
            }
        }
    }

    private Taken receive(final long warmUpNs, final long durationNs, final Failure failure) throws Exception {
        Pinning.pinThisThread(settings.firstCore());
        try (Side side = new Side(settings.sideDirectory(0), settings)) {
            final Subscription subscription = side.addSubscription(settings.channel(0), TransportSettings.STREAM_ID);
            final long deadlineNs = System.nanoTime() + LIMIT_NS;
            while (!subscription.isConnected()) {
                failure.rethrow();
                if (System.nanoTime() - deadlineNs > 0) {
                    throw new IllegalStateException("the two sides did not connect");
                }
                side.cycle();
            }
            final Image image = subscription.imageAtIndex(0);
            final long[] next = {0};
            final long[] wrongCount = {0};
            final FragmentHandler check = (buffer, offset, length, header) -> {
                final long sequence = buffer.getLong(offset);
                // An exception here would only reach Aeron's error handler.
                if (sequence != next[0] || length != messageLength) {
                    wrongCount[0]++;
                }
                next[0] = sequence + 1;
            };
            poll(side, image, check, warmUpNs);
            final long messagesBefore = next[0];
            final long startNs = System.nanoTime();
            poll(side, image, check, durationNs);
            final long takenNs = System.nanoTime() - startNs;
            if (0 != wrongCount[0]) {
                throw new IllegalStateException(wrongCount[0] + " messages out of order or of another length");
            }
            return new Taken(next[0] - messagesBefore, takenNs);
        }
    }

    private static void poll(final Side side, final Image image, final FragmentHandler handler, final long forNs) {
        final long endNs = System.nanoTime() + forNs;
        while (System.nanoTime() - endNs < 0) {
            side.cycle();
            image.poll(handler, FRAGMENTS_PER_POLL_MAX);
        }
    }
}
