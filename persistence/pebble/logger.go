package pebble

import (
	"fmt"
	"log/slog"
	"runtime"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
)

// logger takes what Pebble has to say. Pebble expects that Fatalf does not return; ending the process there would leave
// writers without an answer, so it ends the goroutine and the store instead.
type logger struct {
	log  *slog.Logger
	fail atomic.Pointer[func(error)] // nil while the store is being opened
}

func (l *logger) Infof(format string, args ...any) {
	l.log.Debug("pebble", "message", fmt.Sprintf(format, args...))
}

func (l *logger) Errorf(format string, args ...any) {
	l.log.Error("pebble", "message", fmt.Sprintf(format, args...))
}

func (l *logger) Fatalf(format string, args ...any) {
	err := fmt.Errorf(format, args...)
	fail := l.fail.Load()
	if fail == nil {
		panic(err)
	}
	(*fail)(err)
	runtime.Goexit()
}

// events reports what an operator should know. Of the damage that readers meet, the readers get the error.
func (l *logger) events() *pebble.EventListener {
	return &pebble.EventListener{
		BackgroundError: func(err error) { l.log.Error("pebble: work in the background failed; it is tried again", "error", err) },
		DataCorruption: func(info pebble.DataCorruptionInfo) {
			l.log.Error("pebble: a file is damaged", "file", info.Path, "error", info.Details)
		},
		DiskSlow: func(info pebble.DiskSlowInfo) {
			l.log.Warn("pebble: the disk is slow", "file", info.Path, "operation", info.OpType.String(), "duration", info.Duration)
		},
		WriteStallBegin: func(info pebble.WriteStallBeginInfo) {
			l.log.Warn("pebble: writes wait until the disk catches up", "reason", info.Reason)
		},
	}
}
