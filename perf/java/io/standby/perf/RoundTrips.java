package io.standby.perf;

import io.aeron.Publication;
import io.aeron.Subscription;
import io.aeron.logbuffer.FragmentHandler;
import org.agrona.concurrent.UnsafeBuffer;

import java.nio.ByteBuffer;
import java.util.concurrent.TimeUnit;

/** Ping-pong of one message at a time. */
final class RoundTrips {
    private static final long LIMIT_NS = TimeUnit.SECONDS.toNanos(30);

    private final TransportSettings settings;
    private final int messageLength;
    private volatile boolean isDone;

    RoundTrips(final TransportSettings settings, final int messageLength) {
        this.settings = settings;
        this.messageLength = messageLength;
    }

    /** Nanoseconds of each round trip after the warm-up. */
    long[] run(final int warmUpCount, final int count) throws Exception {
        final Failure failure = new Failure();
        final Thread pong = new Thread(() -> failure.guard(this::pong), "pong");
        pong.start();
        try {
            return ping(warmUpCount, count, failure);
        } finally {
            isDone = true;
            pong.join();
            failure.rethrow();
        }
    }

    private void pong() throws Exception {
        Pinning.pinThisThread(settings.secondCore());
        try (Side side = new Side(settings.sideDirectory(1), settings)) {
            final Subscription subscription = side.addSubscription(settings.channel(1), TransportSettings.STREAM_ID);
            final Publication publication = side.addPublication(settings.channel(0), TransportSettings.STREAM_ID);
            final FragmentHandler echo = (buffer, offset, length, header) -> {
                while (publication.offer(buffer, offset, length) < 0 && !isDone) {
                    side.cycle();
                }
            };
            while (!isDone) {
                side.cycle();
                subscription.poll(echo, 1);
            }
        }
    }

    private long[] ping(final int warmUpCount, final int count, final Failure failure) throws Exception {
        Pinning.pinThisThread(settings.firstCore());
        final long deadlineNs = System.nanoTime() + LIMIT_NS;
        final long[] roundTripsNs = new long[count];
        try (Side side = new Side(settings.sideDirectory(0), settings)) {
            final Subscription subscription = side.addSubscription(settings.channel(0), TransportSettings.STREAM_ID);
            final Publication publication = side.addPublication(settings.channel(1), TransportSettings.STREAM_ID);
            while (!publication.isConnected() || !subscription.isConnected()) {
                failure.rethrow();
                if (System.nanoTime() - deadlineNs > 0) {
                    throw new IllegalStateException("the two sides did not connect");
                }
                side.cycle();
            }
            final UnsafeBuffer message = new UnsafeBuffer(ByteBuffer.allocateDirect(messageLength));
            final long[] echoed = {-1};
            final FragmentHandler onEcho = (buffer, offset, length, header) -> echoed[0] = buffer.getLong(offset);
            for (int round = 0; round < warmUpCount + count; round++) {
                message.putLong(0, round);
                final long startNs = System.nanoTime();
                while (publication.offer(message, 0, messageLength) < 0) {
                    side.cycle();
                }
                while (echoed[0] != round) {
                    side.cycle();
                    subscription.poll(onEcho, 1);
                    if (System.nanoTime() - deadlineNs > 0) {
                        throw new IllegalStateException("round " + round + " did not come back");
                    }
                }
                if (round >= warmUpCount) {
                    roundTripsNs[round - warmUpCount] = System.nanoTime() - startNs;
                }
            }
        }
        return roundTripsNs;
    }
}
