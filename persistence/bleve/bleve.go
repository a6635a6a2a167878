// Package bleve is the full-text index of a single node, in a folder beside its database, or in memory for tests.
//
// Texts come as tokens, so that bleve does no more than split at the spaces between them. What is written is synced before Update
// returns. An index that cannot be opened is made anew: everything in it follows from the rows of the store.
package bleve

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/blevesearch/bleve/v2"
	"github.com/blevesearch/bleve/v2/analysis/analyzer/custom"
	"github.com/blevesearch/bleve/v2/analysis/analyzer/keyword"
	"github.com/blevesearch/bleve/v2/analysis/tokenizer/whitespace"
	"github.com/blevesearch/bleve/v2/mapping"
	"github.com/blevesearch/bleve/v2/search"
	"github.com/blevesearch/bleve/v2/search/query"
	"github.com/blevesearch/bleve/v2/search/searcher"
	index "github.com/blevesearch/bleve_index_api"
	"github.com/go-json-experiment/json"

	"github.com/matrixon/matrixon/matrix/words"
	"github.com/matrixon/matrixon/persistence"
)

// Index implements persistence.Searcher.
type Index struct {
	index   bleve.Index
	close   func() error // once
	portion uint64       // texts that are looked at first, for what is recent
}

func wrap(opened bleve.Index) *Index { return &Index{opened, sync.OnceValue(opened.Close), 5000} }

// Open opens the index in the folder, or makes a new one there.
func Open(dir string, log *slog.Logger) (*Index, error) {
	opened, err := bleve.Open(dir)
	if errors.Is(err, bleve.ErrorIndexPathDoesNotExist) {
		return create(dir)
	}
	if err == nil {
		same, err := current(opened)
		if err != nil || same {
			return wrap(opened), err
		}
		if err := opened.Close(); err != nil {
			return nil, fmt.Errorf("search index: %w", err)
		}
		log.Info("the search index is of another version and is made anew", "folder", dir)
	} else {
		log.Warn("the search index is damaged and is made anew", "folder", dir, "error", err)
	}
	if err := os.RemoveAll(dir); err != nil {
		return nil, fmt.Errorf("search index: %w", err)
	}
	return create(dir)
}

// current reports whether an index holds what those hold that are made now.
func current(opened bleve.Index) (bool, error) {
	m, err := layout()
	if err != nil {
		return false, fmt.Errorf("search index: %w", err)
	}
	want, err := json.Marshal(m, json.Deterministic(true))
	if err != nil {
		return false, fmt.Errorf("search index: %w", err)
	}
	have, err := json.Marshal(opened.Mapping(), json.Deterministic(true))
	return bytes.Equal(want, have), err
}

func create(dir string) (*Index, error) {
	m, err := layout()
	if err != nil {
		return nil, fmt.Errorf("search index: %w", err)
	}
	opened, err := bleve.New(dir, m)
	if err != nil {
		return nil, fmt.Errorf("search index: %w", err)
	}
	return wrap(opened), nil
}

// Memory makes an index that is gone when it is closed.
func Memory() (*Index, error) {
	m, err := layout()
	if err != nil {
		return nil, fmt.Errorf("search index: %w", err)
	}
	opened, err := bleve.NewMemOnly(m)
	if err != nil {
		return nil, fmt.Errorf("search index: %w", err)
	}
	return wrap(opened), nil
}

// The fields of a document. Its id is that of the event, so that a later text of the event takes its place.
const (
	fieldRoom   = "room"
	fieldKey    = "key"
	fieldSender = "sender"
	fieldTS     = "ts"
	fieldWhen   = "when"
	fieldText   = "text"
)

// tokenAnalyzer splits at spaces and does nothing else.
const tokenAnalyzer = "tokens"

func layout() (mapping.IndexMapping, error) {
	field := func(analyzer string, column bool) *mapping.FieldMapping {
		return &mapping.FieldMapping{Type: "text", Analyzer: analyzer, Index: true, DocValues: column, SkipFreqNorm: analyzer == keyword.Name}
	}
	document := mapping.NewDocumentStaticMapping()
	document.AddSubDocumentMapping("_all", mapping.NewDocumentDisabledMapping()) // no field of all fields
	document.AddFieldMappingsAt(fieldRoom, field(keyword.Name, true))
	document.AddFieldMappingsAt(fieldKey, field(keyword.Name, false))
	document.AddFieldMappingsAt(fieldSender, field(keyword.Name, false))
	document.AddFieldMappingsAt(fieldTS, field(keyword.Name, true))
	document.AddFieldMappingsAt(fieldWhen, &mapping.FieldMapping{Type: "text", Analyzer: tokenAnalyzer, Index: true, SkipFreqNorm: true})
	document.AddFieldMappingsAt(fieldText, field(tokenAnalyzer, false))
	m := mapping.NewIndexMapping()
	m.DefaultMapping = document
	return m, m.AddCustomAnalyzer(tokenAnalyzer, map[string]any{"type": custom.Name, "tokenizer": whitespace.Name})
}

// Update implements persistence.Searcher.
func (x *Index) Update(_ context.Context, put []persistence.Text, remove []persistence.TextRef) error {
	batch := x.index.NewBatch()
	for _, t := range put {
		err := batch.Index(documentID(t.TextRef), map[string]any{
			fieldRoom: t.RoomID, fieldKey: t.Key, fieldSender: t.Sender, fieldTS: sortable(t.TS), fieldWhen: strings.Join(spans(t.TS), " "),
			fieldText: strings.Join(t.Tokens, " "),
		})
		if err != nil {
			return fmt.Errorf("search index: %w", err)
		}
	}
	for _, ref := range remove {
		batch.Delete(documentID(ref))
	}
	if err := x.index.Batch(batch); err != nil {
		return fmt.Errorf("search index: %w", err)
	}
	return nil
}

// find finds texts, only those of some spans of time, if there are any, and says how many there are altogether, before and after.
func (x *Index) find(ctx context.Context, q question, when []span) ([]persistence.TextHit, uint64, error) {
	var failed error
	request := bleve.NewSearchRequestOptions(matching(q, when, &failed), q.Limit, 0, false)
	order := []string{"-" + fieldTS, "-_id"}
	if !q.Recent {
		order = append([]string{"-_score"}, order...)
	}
	request.SortBy(order)
	if q.Recent {
		request.Score = "none"
	}
	if a := q.After; a != nil {
		after := []string{sortable(a.TS), documentID(a.TextRef)}
		if !q.Recent {
			after = append([]string{strconv.FormatFloat(a.Rank, 'g', -1, 64)}, after...)
		}
		request.SetSearchAfter(after)
	}
	result, err := x.index.SearchInContext(ctx, request)
	if err = cmp.Or(err, failed); err != nil {
		return nil, 0, fmt.Errorf("search index: %w", err)
	}
	hits := make([]persistence.TextHit, len(result.Hits))
	for i, hit := range result.Hits {
		ref, err := parseDocumentID(hit.ID)
		if err != nil {
			return nil, 0, err
		}
		ts := hit.Sort[len(hit.Sort)-2]
		hits[i] = persistence.TextHit{TextRef: ref, TS: parseSortable(ts), Rank: hit.Score}
	}
	return hits, result.Total, nil
}

// matching is the query in bleve's terms: a conjunction, so that nothing is found outside the rooms whatever the other parts become.
// Only whole words count for the rank. failed gets what goes wrong while bleve looks at texts.
func matching(q question, when []span, failed *error) query.Query {
	var parts []query.Query
	for _, token := range q.Tokens {
		parts = append(parts, tokenQuery(token, q.words))
	}
	if len(q.Keys) > 0 {
		parts = append(parts, unscored{oneOf{fieldKey, q.Keys}})
	}
	if len(q.Senders) > 0 {
		parts = append(parts, unscored{oneOf{fieldSender, q.Senders}})
	}
	if when != nil {
		terms := make([]string, len(when))
		for i, s := range when {
			terms[i] = s.term()
		}
		parts = append(parts, unscored{oneOf{fieldWhen, terms}})
	}
	if uint64(len(q.Rooms)) <= max(fewRooms, q.texts/textsPerRoom) {
		return bleve.NewConjunctionQuery(append(parts, unscored{oneOf{fieldRoom, q.Rooms}})...)
	}
	rooms := make(map[string]bool, len(q.Rooms))
	for _, roomID := range q.Rooms {
		rooms[roomID] = true
	}
	return inRooms{bleve.NewConjunctionQuery(parts...), rooms, failed}
}

// fewRooms is how many rooms are looked up in the index; of more, it is faster to look at the room of each text that matches, unless
// there may be very many of these for each room.
const fewRooms, textsPerRoom = 64, 400

// inRooms gives what another query finds in the rooms.
type inRooms struct {
	query.Query
	rooms  map[string]bool
	failed *error // a filter cannot say it otherwise
}

// Searcher implements query.Query.
func (q inRooms) Searcher(ctx context.Context, r index.IndexReader, m mapping.IndexMapping, o search.SearcherOptions) (search.Searcher, error) {
	values, err := r.DocValueReader([]string{fieldRoom})
	if err != nil {
		return nil, err
	}
	all, err := q.Query.Searcher(ctx, r, m, o)
	if err != nil {
		return nil, err
	}
	return searcher.NewFilteringSearcher(ctx, all, func(_ *search.SearchContext, d *search.DocumentMatch) bool {
		in := false
		err := values.VisitDocValues(d.IndexInternalID, func(_ string, roomID []byte) { in = in || q.rooms[string(roomID)] })
		if err != nil {
			*q.failed = err
		}
		return in
	}), nil
}

// unscored is a query that does not count for the rank, which lets bleve work on sets instead of single documents.
type unscored struct{ query.Query }

// Searcher implements query.Query.
func (u unscored) Searcher(ctx context.Context, r index.IndexReader, m mapping.IndexMapping, o search.SearcherOptions) (search.Searcher, error) {
	o.Score = "none"
	return u.Query.Searcher(ctx, r, m, o)
}

// tokenQuery matches a token, of which the words that begin with it are known.
func tokenQuery(token words.Token, beginning map[string][]string) query.Query {
	exact := bleve.NewTermQuery(token.Text)
	exact.SetField(fieldText)
	if !token.Prefix {
		return exact
	}
	return bleve.NewDisjunctionQuery(exact, unscored{oneOf{fieldText, beginning[token.Text]}})
}

// oneOf matches one of several terms, however many they are.
type oneOf struct {
	field string
	terms []string
}

// Searcher implements query.Query.
func (o oneOf) Searcher(ctx context.Context, r index.IndexReader, _ mapping.IndexMapping, options search.SearcherOptions) (search.Searcher, error) {
	return searcher.NewMultiTermSearcher(ctx, r, o.terms, o.field, 1, options, false)
}

// mostWords is how many words one beginning stands for.
const mostWords = 1000

// beginning gives the words that begin with a text, the most frequent of them, if they are too many to look up, and in how many texts they
// are at most.
func beginning(r index.IndexReader, text string) (words []string, texts uint64, err error) {
	dictionary, err := r.FieldDictPrefix(fieldText, []byte(text))
	if err != nil {
		return nil, 0, err
	}
	defer dictionary.Close() //nolint:errcheck // it was only read
	var entries []index.DictEntry
	for {
		entry, err := dictionary.Next()
		if err != nil {
			return nil, 0, err
		}
		if entry == nil {
			break
		}
		entries = append(entries, *entry)
	}
	if len(entries) > mostWords {
		slices.SortFunc(entries, func(a, b index.DictEntry) int {
			return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Term, b.Term))
		})
		entries = entries[:mostWords]
	}
	for _, entry := range entries {
		words, texts = append(words, entry.Term), texts+entry.Count
	}
	return words, texts, nil
}

// sortable writes a time so that byte order is the order of times.
func sortable(ts int64) string { return fmt.Sprintf("%020d", uint64(ts)^(1<<63)) }

func parseSortable(s string) int64 {
	u, _ := strconv.ParseUint(s, 10, 64) // written by sortable
	return int64(u ^ (1 << 63))
}

// documentID names a document so that those of a room are ordered by their numbers.
func documentID(ref persistence.TextRef) string { return fmt.Sprintf("%s %020d", ref.RoomID, ref.Seq) }

func parseDocumentID(id string) (ref persistence.TextRef, err error) {
	at := strings.LastIndexByte(id, ' ')
	if at < 0 {
		return ref, fmt.Errorf("search index: %w: the document %q", persistence.ErrCorrupt, id)
	}
	ref.RoomID = id[:at]
	if ref.Seq, err = strconv.ParseUint(id[at+1:], 10, 64); err != nil {
		return ref, fmt.Errorf("search index: %w: the document %q", persistence.ErrCorrupt, id)
	}
	return ref, nil
}

// completeKey marks an index in which everything has been put.
var completeKey = []byte("matrixon.complete")

// Complete implements persistence.Searcher.
func (x *Index) Complete(context.Context) (bool, error) {
	value, err := x.index.GetInternal(completeKey)
	return len(value) > 0, err
}

// MarkComplete implements persistence.Searcher.
func (x *Index) MarkComplete(context.Context) error {
	return x.index.SetInternal(completeKey, []byte{1})
}

// Close implements persistence.Searcher.
func (x *Index) Close() error { return x.close() }
