package pebble

import (
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"

	"github.com/cockroachdb/pebble/v2"
)

// logger takes what Pebble has to say. Pebble expects that Fatalf does not return; ending the process there would leave
// writers without an answer, so it ends the goroutine and the store instead.
type logger struct {
	log *slog.Logger

	mu    sync.Mutex
	fail  func(error) // nil while the store is being opened
	early error       // what was fatal meanwhile
}

// attach says whom to tell of fatal errors, also of one that came before.
func (l *logger) attach(fail func(error)) {
	l.mu.Lock()
	l.fail = fail
	early := l.early
	l.mu.Unlock()
	if early != nil {
		fail(early)
	}
}

func (l *logger) Infof(format string, args ...any) {
	l.log.Debug("pebble", "message", fmt.Sprintf(format, args...))
}

func (l *logger) Errorf(format string, args ...any) {
	l.log.Error("pebble", "message", fmt.Sprintf(format, args...))
}

func (l *logger) Fatalf(format string, args ...any) {
	err := fmt.Errorf(format, args...)
	l.mu.Lock()
	fail := l.fail
	if fail == nil {
		l.early = errors.Join(l.early, err)
	}
	l.mu.Unlock()
	if fail != nil {
		fail(err)
	}
	runtime.Goexit()
}

// events reports what an operator should know. Of the damage that readers meet, the readers get the error.
func (l *logger) events() *pebble.EventListener {
	return &pebble.EventListener{
		BackgroundError: func(err error) { l.log.Error("pebble: work in the background failed; it is tried again", "error", err) },
		DataCorruption: func(info pebble.DataCorruptionInfo) {
			l.log.Error("pebble: a file is damaged", "file", info.Path, "error", info.Details)
		},
		WriteStallBegin: func(info pebble.WriteStallBeginInfo) {
			l.log.Warn("pebble: writes wait until the disk catches up", "reason", info.Reason)
		},
	}
}
