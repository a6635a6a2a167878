package persistence

import (
	"context"

	"github.com/matrixon/matrixon/matrix/words"
)

// Text is what can be found of one event.
type Text struct {
	TextRef
	Key    string   // where it stands in the event: content.body, content.name or content.topic
	Sender string   // who sent the event
	TS     int64    // its origin_server_ts, in ms
	Tokens []string // of words.Index
}

// TextRef names the event that a text is of.
type TextRef struct {
	RoomID string
	Seq    uint64
}

// TextQuery asks for texts that have all tokens.
type TextQuery struct {
	Tokens  []words.Token // a prefix stands for the 1,000 most frequent words with it, or more
	Rooms   []string      // in one of these
	Keys    []string      // under one of these; empty: any
	Senders []string      // by one of these; empty: anybody
	// Recent puts the newest first, otherwise those that match best. Ties are broken by time, room and number, the largest first.
	Recent bool
	// After is the hit that the wanted ones come after; nil is the beginning.
	After *TextHit
	Limit int
}

// TextHit is a text that was found.
type TextHit struct {
	TextRef
	TS   int64
	Rank float64 // how well it matches; comparable within one query
	// Since is when those begin among which this is one of the best, in ms; zero: all that there are. A word that is in very many texts is
	// not looked up in all. TextQuery.After has it found in the same.
	Since int64
}

// Searcher is a full-text index beside the rows. What it holds follows from the rows, so it can be made anew when it is lost.
// A text is found when Update has returned, and durable.
type Searcher interface {
	// Update puts texts into the index, each in place of the one of the same event, and removes others.
	Update(ctx context.Context, put []Text, remove []TextRef) error
	// Search finds texts.
	Search(ctx context.Context, q TextQuery) ([]TextHit, error)
	// Complete reports whether the index has been marked as made: one that is new has not.
	Complete(ctx context.Context) (bool, error)
	// MarkComplete says that everything has been put in.
	MarkComplete(ctx context.Context) error
	// Close may be called more than once.
	Close() error
}
