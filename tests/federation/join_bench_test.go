package federation

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/matrixon/matrixon/matrix/roomversion"
	"github.com/matrixon/matrixon/tests/matrixclient"
	"github.com/matrixon/matrixon/tests/peers"
)

// BenchmarkJoiningALargeRoom measures a join of a room with many members on another server, which the test plays: the seconds until the room is in
// use and until its members are known, of the processor's time, and the memory that the server takes, in MB: before, and at most.
func BenchmarkJoiningALargeRoom(b *testing.B) {
	for _, whole := range []bool{false, true} {
		for _, members := range []int{10_000, 50_000} {
			b.Run(fmt.Sprintf("%d/whole=%v", members, whole), func(b *testing.B) {
				for b.Loop() {
					joinHall(b, members, whole)
				}
			})
		}
	}
}

func joinHall(b *testing.B, members int, whole bool) {
	b.StopTimer() // it takes longer to make the room than to join it
	authority := peers.NewAuthority(b)
	server := authority.Start(1)[0]
	host := authority.Stranger(b)
	hall := peers.NewHall(b, host, roomversion.Default, members)
	hall.Whole = whole
	alice := server.User(b, "alice")
	alice.HTTP.Timeout = 10 * time.Minute
	b.ReportMetric(float64(memory(b, server.PID(), "VmRSS"))/1024, "MB-before")
	cpu, began := processorTime(b, server.PID()), time.Now()
	b.StartTimer()
	if _, err := alice.Do(b.Context(), "POST", matrixclient.Path("join", hall.ID)+"?via="+host.Name, J{}); err != nil {
		b.Fatal(err)
	}
	sync, err := alice.Sync(b.Context(), "", lazily, 0)
	if err != nil || !sync.Get("rooms.join").Map()[hall.ID].Exists() {
		b.Fatalf("the room is not there: %v", err)
	}
	if _, err := alice.Send(b.Context(), hall.ID, "m.room.message", "t", J{"msgtype": "m.text", "body": "here"}); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(time.Since(began).Seconds(), "s-usable")
	slowest := time.Duration(0)
	for known := false; !known; {
		at := time.Now()
		if _, err := alice.Send(b.Context(), hall.ID, "m.room.message", fmt.Sprint(at.UnixNano()), J{"msgtype": "m.text", "body": "meanwhile"}); err != nil {
			b.Fatal(err)
		}
		slowest = max(slowest, time.Since(at))
		room, err := alice.Sync(b.Context(), "", lazily, 0)
		if err != nil {
			b.Fatal(err)
		}
		known = room.Get("rooms.join").Map()[hall.ID].Get("summary.m\\.joined_member_count").Int() == int64(members)+1
	}
	b.ReportMetric(time.Since(began).Seconds(), "s-whole")
	b.ReportMetric((processorTime(b, server.PID()) - cpu).Seconds(), "cpu-s")
	b.ReportMetric(slowest.Seconds(), "s-slowest-send")
	b.ReportMetric(float64(memory(b, server.PID(), "VmHWM"))/1024, "MB-peak")
}

// memory is how much memory a process has, in KiB: VmRSS is that of now, VmHWM the most that it has had.
func memory(b *testing.B, pid int, which string) int64 {
	b.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.SplitSeq(string(status), "\n") {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == which+":" {
			kib, err := strconv.ParseInt(fields[1], 10, 64)
			if err != nil {
				b.Fatal(err)
			}
			return kib
		}
	}
	b.Fatal("the kernel does not say")
	return 0
}

// processorTime is the time that a process has had of the processors.
func processorTime(b *testing.B, pid int) time.Duration {
	b.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		b.Fatal(err)
	}
	fields := strings.Fields(string(stat)[strings.LastIndexByte(string(stat), ')')+1:])
	user, err := strconv.ParseInt(fields[11], 10, 64)
	if err != nil {
		b.Fatal(err)
	}
	system, err := strconv.ParseInt(fields[12], 10, 64)
	if err != nil {
		b.Fatal(err)
	}
	const perSecond = 100 // of the kernel's ticks, on every Linux
	return time.Duration(user+system) * time.Second / perSecond
}
