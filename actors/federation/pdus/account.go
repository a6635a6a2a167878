package pdus

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"

	"github.com/matrixon/matrixon/actors/federation/verify"
	"github.com/matrixon/matrixon/cluster"
	"github.com/matrixon/matrixon/matrix/event"
	"github.com/matrixon/matrixon/matrix/roomversion"
	"github.com/matrixon/matrixon/messages"
)

// Largest is the most events that an account holds.
const Largest = 1_000_000

// Account is what another server tells of a room's state and its auth chain, which may be more than should be in memory: of each event there is
// its place in a file, and what it stands or falls with, some 300 bytes. An event may be told before those that authorise it, so that
// the room can be given none before the account has ended.
type Account struct {
	RoomID  string
	Version *roomversion.Version

	verifier *verify.Verifier
	file     *os.File
	out      *bufio.Writer
	size     int64
	events   map[string]*told  // by id
	names    map[string]string // of events: each once in memory, however many cite it
}

// told is an event of an account.
type told struct {
	id          string
	authorisers []string
	at          int64 // in the file
	size        int
}

// NewAccount makes an account that keeps its file in the folder, which goes with Close; an empty folder stands for the system's.
func NewAccount(folder, roomID string, version *roomversion.Version, verifier *verify.Verifier) (*Account, error) {
	file, err := os.CreateTemp(folder, ".account-*")
	if err != nil {
		return nil, err
	}
	// Without a name it does not outlive the process.
	if err := os.Remove(file.Name()); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return &Account{RoomID: roomID, Version: version, verifier: verifier, file: file, out: bufio.NewWriterSize(file, 1<<16),
		events: map[string]*told{}, names: map[string]string{}}, nil
}

// Close gives the file up. That it was written does not matter any more.
func (a *Account) Close() { _ = a.file.Close() }

var errNoArray = errors.New("a list of events is expected")

// The bounds of what waits to be checked: how many events, and how many bytes. An event has 65,536 at most, which may be written with more.
const (
	chunk      = 256
	chunkBytes = 8 << 20
	largestPDU = 1 << 20
)

// Read reads a JSON array of PDUs as it comes. What waits to be checked is one chunk at most. each, if not nil, is told every good event, one
// that the account had before too; its error ends the reading.
func (a *Account) Read(ctx context.Context, d *Decoder, each func(*event.Event) error) error {
	t, err := d.ReadToken()
	if err != nil {
		return err
	}
	if t.Kind() != '[' {
		return errNoArray
	}
	var waiting [][]byte
	size := 0
	for d.PeekKind() != ']' {
		raw, err := d.ReadValue()
		if err != nil {
			return err
		}
		if len(raw) > largestPDU {
			continue
		}
		waiting, size = append(waiting, slices.Clone(raw)), size+len(raw)
		if len(waiting) == chunk || size > chunkBytes {
			if err := a.Add(ctx, waiting, each); err != nil {
				return err
			}
			clear(waiting)
			waiting, size = waiting[:0], 0
		}
	}
	if _, err := d.ReadToken(); err != nil { // of the end
		return err
	}
	return a.Add(ctx, waiting, each)
}

// Add checks PDUs and keeps the good ones; bad ones, and those of other rooms, are left out, as the rules for received events want. each is as of Read.
func (a *Account) Add(ctx context.Context, raws [][]byte, each func(*event.Event) error) error {
	for e, err := range checked(ctx, raws, a.verifier, a.RoomID, a.Version) {
		if err != nil {
			return err
		}
		if err := a.keep(e); err != nil {
			return err
		}
		if each != nil {
			if err := each(e); err != nil {
				return err
			}
		}
	}
	if len(a.events) > Largest {
		return fmt.Errorf("more than %d events", Largest)
	}
	return nil
}

// keep writes the event down.
func (a *Account) keep(e *event.Event) error {
	if a.events[e.ID()] != nil {
		return nil
	}
	one := &told{id: a.name(e.ID()), at: a.size, size: len(e.JSON())}
	for _, id := range e.Authorisers() {
		one.authorisers = append(one.authorisers, a.name(id))
	}
	a.events[one.id], a.size = one, a.size+int64(one.size)
	_, err := a.out.Write(e.JSON())
	return err
}

func (a *Account) name(id string) string {
	name, ok := a.names[id]
	if !ok {
		name = strings.Clone(id) // else it would hold the event's text
		a.names[name] = name
	}
	return name
}

// Store is like that of Set. Nothing is added afterwards.
func (a *Account) Store(ctx context.Context, rooms cluster.Caller, origin string, log *slog.Logger) (map[string]bool, error) {
	if err := a.out.Flush(); err != nil {
		return nil, err
	}
	a.names = nil
	order := event.Ordered(a.events, func(one *told) []string { return one.authorisers })
	s := storing{roomID: a.RoomID, version: a.Version, origin: origin, rooms: rooms, log: log}
	return s.all(ctx, len(order), func(yield func(*messages.Pdu, error) bool) {
		for _, one := range order {
			raw := make([]byte, one.size)
			_, err := a.file.ReadAt(raw, one.at)
			if !yield(&messages.Pdu{EventId: one.id, Json: raw}, err) {
				return
			}
		}
	})
}
