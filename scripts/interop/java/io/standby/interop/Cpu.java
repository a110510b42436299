package io.standby.interop;

import java.lang.management.ManagementFactory;
import java.util.concurrent.TimeUnit;

import com.sun.management.OperatingSystemMXBean;

/** This process's CPU time, all threads, user and system. */
final class Cpu {
    private static final OperatingSystemMXBean BEAN =
        (OperatingSystemMXBean)ManagementFactory.getOperatingSystemMXBean();

    private Cpu() {
    }

    static long usedMs() {
        return TimeUnit.NANOSECONDS.toMillis(BEAN.getProcessCpuTime());
    }
}
