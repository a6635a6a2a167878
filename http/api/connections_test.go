package api

import (
	"log/slog"
	"net"
	"strings"
	"testing"
)

func TestConnectionsLeaveFiles(t *testing.T) {
	t.Parallel()
	for files, want := range map[uint64]int{1024: 768, 4096: 3072, 20_000: 15_904, 1 << 20: 1<<20 - 4096, 1<<64 - 1: 1 << 22} {
		if got := connectionsOf(files); got != want {
			t.Errorf("of %d files %d are for connections, not %d", files, got, want)
		}
	}
}

// Connections beyond the bound of all listeners are taken when others have gone, on whichever listener those were; and one who waits for a
// place ends when its listener is closed.
func TestConnectionsWait(t *testing.T) {
	t.Parallel()
	var log strings.Builder
	bound := &connections{places: make(chan struct{}, 2), log: slog.New(slog.NewTextHandler(&log, nil))}
	type accepted struct {
		conn net.Conn
		err  error
	}
	listeners := make([]net.Listener, 2)
	for i := range listeners {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		listeners[i] = bound.of(ln)
		defer listeners[i].Close() //nolint:errcheck // at the end of the test
	}
	dial := func(i int) {
		conn, err := net.Dial("tcp", listeners[i].Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
	}
	accept := func(i int) accepted {
		conn, err := listeners[i].Accept()
		return accepted{conn, err}
	}
	var held []net.Conn
	for i := range 2 {
		dial(i)
		a := accept(i)
		if a.err != nil {
			t.Fatal(a.err)
		}
		held = append(held, a.conn)
	}
	dial(1)
	waiting := make(chan accepted, 1)
	go func() { waiting <- accept(1) }()
	select {
	case a := <-waiting:
		t.Fatal("a third connection was taken", a)
	default:
	}
	for range 2 { // closing twice frees one place
		_ = held[0].Close()
	}
	a := <-waiting
	if a.err != nil || len(bound.places) != 2 {
		t.Fatal(a.err, len(bound.places))
	}
	go func() { waiting <- accept(0) }()
	_ = listeners[0].Close()
	if a := <-waiting; a.err == nil {
		t.Error("a listener that was closed accepts")
	}
	_, _ = held[1].Close(), a.conn.Close()
	if len(bound.places) != 0 {
		t.Error("places are lost:", len(bound.places))
	}
	if !strings.Contains(log.String(), "level=WARN") {
		t.Error("nobody is told:", log.String())
	}
}
