package io.standby.interop;

import java.nio.ByteOrder;

import org.agrona.DirectBuffer;
import org.agrona.concurrent.UnsafeBuffer;

/**
 * The reference service with one command more, for tests only: command 4 carries a u64 n at offset 16, and the
 * service with id 0 then offers n service messages of 32 bytes to the cluster, each u64 3, i64 0, u64 index
 * (from 0), u64 {@link #MARK}.
 */
final class BurstAudit extends Audit {
    static final int COMMAND_BURST = 4;
    static final long MARK = 0x5374616e64627921L;
    private static final int MESSAGE_LENGTH = 32;

    private final UnsafeBuffer message = new UnsafeBuffer(new byte[MESSAGE_LENGTH]);

    BurstAudit(final int ballastLength, final LagHistogram lag) {
        super(ballastLength, lag);
    }

    @Override
    protected void onCommand(
        final long command, final long timestamp, final DirectBuffer buffer, final int offset, final int length) {
        if (command != COMMAND_BURST) {
            super.onCommand(command, timestamp, buffer, offset, length);
        } else if (length >= HEADER_LENGTH + Long.BYTES) {
            final long messages = buffer.getLong(offset + HEADER_LENGTH, ByteOrder.LITTLE_ENDIAN);
            message.putLong(0, COMMAND_SERVICE_MESSAGE_BACK, ByteOrder.LITTLE_ENDIAN);
            message.putLong(8, 0L, ByteOrder.LITTLE_ENDIAN);
            message.putLong(24, MARK, ByteOrder.LITTLE_ENDIAN);
            for (long i = 0; i < messages; i++) {
                message.putLong(16, i, ByteOrder.LITTLE_ENDIAN);
                offerToCluster(message, MESSAGE_LENGTH);
            }
        }
    }
}
