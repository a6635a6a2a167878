package postgres

import (
	"context"
	"encoding/base64"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/matrixon/matrixon/persistence"
)

// channel is what Postgres wakes the nodes by. What a node says there of a batch is who it is, the batch's first and last position, and, when
// they are short enough, the batch's notices, which then nobody has to read from the table. Postgres delivers it after the commit and in
// the order of commits.
const channel = "matrixon_commits"

const (
	// longestWord is how long a payload may be, in bytes: Postgres takes 7999.
	longestWord = 7900
	// mostHeard is how many batches may wait to be told; what comes beyond that is read from the table.
	mostHeard = 256
)

// heard is a batch of another node, as the table commits has it.
type heard struct {
	First, Last int64
	Batch       string
	Notices     []byte
}

// word is what a node says of its batch. Without notices its readers look into the table.
func word(node string, b *batch, notices []byte) string {
	said := node + " " + strconv.FormatUint(uint64(b.first), 10) + " " + strconv.FormatUint(uint64(b.last), 10)
	if len(said)+len(" ")+base64.RawStdEncoding.EncodedLen(len(notices)) > longestWord {
		return said
	}
	return said + " " + base64.RawStdEncoding.EncodeToString(notices)
}

// understand reads what a node said; without whole the notices are to be read from the table, as they are when an older version speaks.
func understand(said string) (node string, h heard, whole bool) {
	node, rest, _ := strings.Cut(said, " ")
	parts := strings.Split(rest, " ")
	if len(parts) != 3 {
		return node, heard{}, false
	}
	var errs [3]error
	h.First, errs[0] = strconv.ParseInt(parts[0], 10, 64)
	h.Last, errs[1] = strconv.ParseInt(parts[1], 10, 64)
	h.Notices, errs[2] = base64.RawStdEncoding.DecodeString(parts[2])
	return node, h, errs == [3]error{} && h.First <= h.Last
}

// listen is woken by the commits of other nodes. What it misses while it is not connected, the feed finds by looking.
func (s *Store) listen(ctx context.Context) {
	for ctx.Err() == nil {
		err := s.hear(ctx)
		if ctx.Err() == nil {
			s.log.Debug("listening to the database was interrupted", "error", err)
			select {
			case <-time.After(time.Second):
			case <-ctx.Done():
			}
		}
	}
}

func (s *Store) hear(ctx context.Context) error {
	conn, err := pgx.ConnectConfig(ctx, s.pool.Config().ConnConfig)
	if err != nil {
		return err
	}
	defer conn.Close(context.Background()) //nolint:errcheck // it may be broken
	if _, err := conn.Exec(ctx, "LISTEN "+channel); err != nil {
		return err
	}
	for {
		n, err := conn.WaitForNotification(ctx)
		if err != nil {
			return err
		}
		s.hearOf(n.Payload)
	}
}

// hearOf has the feed go on with what another node said.
func (s *Store) hearOf(said string) {
	node, h, whole := understand(said)
	if node == s.id {
		return
	}
	s.mu.Lock()
	if whole = whole && len(s.heard) < mostHeard; whole {
		s.heard = append(s.heard, h)
	}
	s.mu.Unlock()
	if !whole {
		s.notified.Store(true)
	}
	s.wakeFeed()
}

// nextHeard takes the batch that follows the position, if it was heard whole. What was heard and has been told since is forgotten.
// missed: something else was heard, so that there is something in the table.
func (s *Store) nextHeard(at persistence.Position) (h heard, next, missed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.heard) > 0 && s.heard[0].Last <= int64(at) {
		s.heard[0] = heard{}
		s.heard = s.heard[1:]
	}
	switch {
	case len(s.heard) == 0:
		return heard{}, false, false
	case s.heard[0].First != int64(at)+1:
		return heard{}, false, true
	}
	h = s.heard[0]
	s.heard[0] = heard{}
	s.heard = s.heard[1:]
	return h, true, false
}

// tellHeard tells what was heard whole and comes next. It reports whether that was something.
func (s *Store) tellHeard() (bool, error) {
	h, next, missed := s.nextHeard(s.Position())
	if missed {
		s.notified.Store(true)
	}
	if !next {
		return false, nil
	}
	return true, s.tellBatch(h)
}

// tellBatch tells a batch of another node.
func (s *Store) tellBatch(h heard) error {
	if err := s.tellEncoded(h.Notices); err != nil {
		return err
	}
	s.position.Set(uint64(h.Last))
	return nil
}
