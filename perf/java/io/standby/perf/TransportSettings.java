package io.standby.perf;

/** What both ends of a run agree on. Lengths are in bytes. */
record TransportSettings(
    String directory,
    int firstCore,
    int secondCore,
    int firstPort,
    int mtu,
    int termLength,
    int windowLength,
    int socketBufferLength) {

    static final int STREAM_ID = 7;

    String channel(final int side) {
        return "aeron:udp?endpoint=127.0.0.1:" + (firstPort + side);
    }

    String sideDirectory(final int side) {
        return directory + "/side-" + side;
    }
}
