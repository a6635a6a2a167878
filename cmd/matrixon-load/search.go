package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// vocabulary is how many words are used in the messages that are searched: a few often, most of them hardly ever, as in any language.
const vocabulary = 50_000

// writer writes messages.
type writer struct{ zipf *rand.Zipf }

func newWriter(seed uint64) writer {
	return writer{rand.NewZipf(rand.New(rand.NewPCG(seed, 0)), 1.1, 4, vocabulary-1)} //nolint:gosec // words, and the same each time
}

func (w writer) message() string {
	words := make([]string, 12)
	for i := range words {
		words[i] = word(w.zipf.Uint64())
	}
	return strings.Join(words, " ")
}

// word is a word that can be said, by how often it is used.
func word(n uint64) string {
	const consonants, vowels = "bdfgklmnprstvz", "aeiou"
	var b strings.Builder
	for n += 70; n > 0; n /= 70 {
		b.WriteByte(consonants[n%70/5])
		b.WriteByte(vowels[n%5])
	}
	return b.String()
}

// search measures how fast messages can be found after they were sent, and how fast one finds among many.
func search(ctx context.Context, o *options, s *server) error {
	writers, err := registerMany(ctx, s, o.Senders)
	if err != nil {
		return err
	}
	reader, err := register(ctx, s)
	if err != nil {
		return err
	}
	rooms := make([]string, o.Senders)
	if err := parallel(ctx, len(rooms), func(ctx context.Context, i int) (err error) {
		if rooms[i], err = writers[i].createRoom(ctx); err != nil {
			return err
		}
		return reader.join(ctx, rooms[i])
	}); err != nil {
		return err
	}
	const last = "quousque"
	var behind time.Duration
	used, err := s.measured(func() error {
		if err := write(ctx, o.Messages, writers, rooms); err != nil {
			return err
		}
		if err := writers[0].send(ctx, rooms[0], "last", map[string]any{"msgtype": "m.text", "body": last}); err != nil {
			return err
		}
		waiting := time.Now()
		for found := 0; found == 0; behind = time.Since(waiting) {
			if found, err = reader.search(ctx, last, "recent"); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	report(fmt.Sprintf("%d messages indexed", o.Messages), "%.0f/s, the last %v after it was sent", used.rate(o.Messages), behind.Round(time.Millisecond))
	used.each(o.Messages)
	if err := reader.searches(ctx); err != nil {
		return err
	}
	peak, err := s.peak()
	if err != nil {
		return err
	}
	report("most memory", "%.0f MB", float64(peak)/1e6)
	return nil
}

// write has each writer say so many messages in a room of its own, all together n.
func write(ctx context.Context, n int, writers []*client, rooms []string) error {
	g, ctx := errgroup.WithContext(ctx)
	for i, room := range rooms {
		g.Go(func() error {
			w := newWriter(uint64(i))
			for j := i; j < n; j += len(rooms) {
				if err := writers[i].send(ctx, room, fmt.Sprintf("s%d", j), map[string]any{"msgtype": "m.text", "body": w.message()}); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return g.Wait()
}

// searches measures queries of several kinds.
func (c *client) searches(ctx context.Context) error {
	for _, q := range []struct {
		what string
		term func(i int) string
	}{
		{"a word in every other message", func(i int) string { return word(uint64(i % 3)) }},
		{"a rare word", func(i int) string { return word(uint64(20_000 + 97*i)) }},
		{"two common words", func(i int) string { return word(uint64(i%5)) + " " + word(uint64(7+i%5)) }},
		{"a common and a rare word", func(i int) string { return word(uint64(i%5)) + " " + word(uint64(5_000+31*i)) }},
	} {
		for _, order := range []string{"recent", "rank"} {
			var taken latencies
			for i := range 30 {
				if err := taken.of(func() error {
					_, err := c.search(ctx, q.term(i), order)
					return err
				}); err != nil {
					return err
				}
			}
			taken.print(q.what + ", by " + order)
		}
	}
	return nil
}

// search gives how many there are.
func (c *client) search(ctx context.Context, term, order string) (int, error) {
	var answer struct {
		Categories struct {
			Events struct {
				Count int `json:"count"`
			} `json:"room_events"`
		} `json:"search_categories"`
	}
	err := c.call(ctx, http.MethodPost, "/v3/search", map[string]any{"search_categories": map[string]any{"room_events": map[string]any{
		"search_term": term, "order_by": order}}}, &answer)
	return answer.Categories.Events.Count, err
}
