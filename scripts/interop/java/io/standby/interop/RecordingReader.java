package io.standby.interop;

import java.io.File;
import java.io.IOException;
import java.nio.ByteOrder;
import java.nio.file.Files;

import org.agrona.ExpandableArrayBuffer;
import org.agrona.concurrent.UnsafeBuffer;

/**
 * Reads the messages of a finished recording that starts at position 0 from its segment files, so that neither a
 * driver nor an archive has to run.
 */
final class RecordingReader {
    /** Takes whole messages, put together from their fragments. */
    interface MessageHandler {
        void onMessage(UnsafeBuffer buffer, int length);
    }

    private static final int FRAME_HEADER_LENGTH = 32;
    private static final int FRAME_ALIGNMENT = 32;
    private static final int FLAGS_OFFSET = 5;
    private static final int TYPE_OFFSET = 6;
    private static final int TYPE_PADDING = 0;
    private static final int BEGIN = 0x80;
    private static final int END = 0x40;

    private RecordingReader() {
    }

    static void read(final File archiveDir, final long recordingId, final MessageHandler handler) throws IOException {
        final ExpandableArrayBuffer message = new ExpandableArrayBuffer();
        final UnsafeBuffer whole = new UnsafeBuffer(0, 0);
        int messageLength = 0;
        long position = 0;
        while (true) {
            final File file = new File(archiveDir, recordingId + "-" + position + ".rec");
            if (!file.exists()) {
                return;
            }
            final UnsafeBuffer segment = new UnsafeBuffer(Files.readAllBytes(file.toPath()));
            int at = 0;
            while (at + FRAME_HEADER_LENGTH <= segment.capacity()) {
                final int frameLength = segment.getInt(at, ByteOrder.LITTLE_ENDIAN);
                if (frameLength <= 0) {
                    return;
                }
                final int flags = segment.getByte(at + FLAGS_OFFSET) & 0xFF;
                if (segment.getShort(at + TYPE_OFFSET, ByteOrder.LITTLE_ENDIAN) != TYPE_PADDING) {
                    messageLength = (flags & BEGIN) != 0 ? 0 : messageLength;
                    final int length = frameLength - FRAME_HEADER_LENGTH;
                    message.putBytes(messageLength, segment, at + FRAME_HEADER_LENGTH, length);
                    messageLength += length;
                    if ((flags & END) != 0) {
                        whole.wrap(message, 0, messageLength);
                        handler.onMessage(whole, messageLength);
                    }
                }
                at += (frameLength + FRAME_ALIGNMENT - 1) & -FRAME_ALIGNMENT;
            }
            position += segment.capacity();
        }
    }
}
