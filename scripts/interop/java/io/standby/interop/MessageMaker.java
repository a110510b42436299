package io.standby.interop;

import java.nio.ByteOrder;
import java.util.Random;

import org.agrona.concurrent.UnsafeBuffer;

/** Makes the client's messages from a seed. Payload bytes are never zero. */
final class MessageMaker {
    private static final int COMMAND_LENGTH_MIN = Audit.HEADER_LENGTH + 16;

    private final LoadFlags flags;
    private final Random random;
    private final UnsafeBuffer buffer;
    private final byte[] noise;
    private long timers;

    MessageMaker(final LoadFlags flags) {
        this.flags = flags;
        random = new Random(flags.seed);
        final int lengthMax = Math.max(flags.lengthMax, COMMAND_LENGTH_MIN);
        buffer = new UnsafeBuffer(new byte[lengthMax]);
        noise = new byte[2 * lengthMax];
        for (int i = 0; i < noise.length; i++) {
            noise[i] = (byte)(1 + random.nextInt(255));
        }
    }

    UnsafeBuffer buffer() {
        return buffer;
    }

    /** Writes the next message into the buffer; returns its length. The send time is stamped apart. */
    int next(final long clusterSessionId) {
        final double draw = random.nextDouble();
        if (draw < flags.timerShare) {
            final int length = fill(0, Audit.COMMAND_TIMER, COMMAND_LENGTH_MIN);
            final long delayRangeMs = flags.timerDelayMaxMs - flags.timerDelayMinMs;
            final long delayMs = flags.timerDelayMinMs + (long)(random.nextDouble() * (delayRangeMs + 1));
            final long id = flags.timerIds > 0 ? timers++ % flags.timerIds : ++timers;
            buffer.putLong(16, (clusterSessionId << 32) | id, ByteOrder.LITTLE_ENDIAN);
            buffer.putLong(24, delayMs, ByteOrder.LITTLE_ENDIAN);
            return length;
        }
        if (draw < flags.timerShare + flags.serviceShare) {
            return fill(0, Audit.COMMAND_SERVICE_MESSAGE, COMMAND_LENGTH_MIN);
        }
        return fill(0, 0, Audit.HEADER_LENGTH);
    }

    /** Writes the message that makes a BurstAudit offer n service messages. */
    int burst(final long messages) {
        fill(COMMAND_LENGTH_MIN, BurstAudit.COMMAND_BURST, COMMAND_LENGTH_MIN);
        buffer.putLong(16, messages, ByteOrder.LITTLE_ENDIAN);
        return COMMAND_LENGTH_MIN;
    }

    void stamp(final long sendTimeNs) {
        buffer.putLong(8, sendTimeNs, ByteOrder.LITTLE_ENDIAN);
    }

    private int fill(final int wantedLength, final int command, final int lengthMin) {
        final int drawn = flags.lengthMin + random.nextInt(flags.lengthMax - flags.lengthMin + 1);
        final int length = Math.max(lengthMin, wantedLength > 0 ? wantedLength : drawn);
        buffer.putLong(0, command, ByteOrder.LITTLE_ENDIAN);
        buffer.putBytes(16, noise, random.nextInt(noise.length - length + 1), length - 16);
        return length;
    }
}
