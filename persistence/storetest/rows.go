package storetest

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/matrixon/matrixon/persistence"
)

func testTypes(t *testing.T, b Backend) {
	s := open(t, b, Options{})
	null, empty, text := (*string)(nil), "", "ü\t€"
	rows := []typed{
		{VNull: null},
		{Text: "a", Signed: math.MinInt64, VNull: &empty, VBlob: []byte{}, VJSON: []byte(`{}`)},
		{Text: "a", Signed: -1, Unsigned: math.MaxInt64, VSigned: math.MinInt64, VUnsig: math.MaxInt64, VFlag: true},
		{Text: "a", Signed: 0, Flag: true, Blob: []byte{0}, VNull: &text, VBlob: []byte{0, 1, 0xff, 0}},
		{Text: "a", Signed: 0, Flag: true, Blob: []byte{0, 0}, VText: strings.Repeat("long ", 5000)},
		{Text: "a", Signed: 0, Flag: true, Blob: []byte{0xff, 0}, VJSON: []byte(`{"b": 1,  "a":[1.50, "\u0041"]}`)},
		{Text: "a", Signed: math.MaxInt64, VSigned: math.MaxInt64},
		{Text: "a\x01", Blob: []byte("k")},
		{Text: "é€😀", VText: text},
	}
	var c persistence.Commit
	for _, row := range rows {
		c.Write = append(c.Write, typedRows.Put(row))
	}
	commit(t, s, &c)
	for i := range rows {
		if rows[i].Blob == nil {
			rows[i].Blob = []byte{} // in keys nil and empty are the same
		}
	}
	for _, want := range rows {
		key := typed{Text: want.Text, Signed: want.Signed, Unsigned: want.Unsigned, Flag: want.Flag, Blob: want.Blob,
			VText: "stale", VNull: &text, VSigned: 9, VUnsig: 9, VFlag: true, VBlob: []byte("stale"), VJSON: []byte("1")}
		got, ok, err := typedRows.Get(within(t), s, key)
		if err != nil || !ok {
			t.Fatalf("get of %+v: %v, %v", key, ok, err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("get differs (-want +got):\n%s", d)
		}
	}
	if d := cmp.Diff(rows, all(t, s, typedRows, persistence.Range[typed]{})); d != "" {
		t.Errorf("scan differs (-want +got):\n%s", d)
	}
}

func testRanges(t *testing.T, b Backend) {
	s := open(t, b, Options{})
	var c persistence.Commit
	var sorted []pair
	for _, g := range []string{"", "a", "a!", "aa", "b"} {
		for _, n := range []int64{math.MinInt64, -256, -1, 0, 1, 255, 256, math.MaxInt64} {
			for _, name := range []string{"", "x", "xy", "y"} {
				row := pair{Group: g, N: n, Name: name, Value: fmt.Sprint(g, n, name)}
				sorted = append(sorted, row)
				c.Write = append(c.Write, pairs.Put(row))
			}
		}
	}
	slices.Reverse(c.Write)
	p := commit(t, s, &c)
	for i := range sorted {
		sorted[i].Pos = uint64(p)
	}
	a := func(n int64, name string) *pair { return &pair{Group: "a", N: n, Name: name} }
	for _, test := range []struct {
		name string
		q    persistence.Range[pair]
	}{
		{"everything", persistence.Range[pair]{}},
		{"prefix of one", persistence.Range[pair]{Prefix: *a(0, ""), Keys: 1}},
		{"prefix that is empty text", persistence.Range[pair]{Prefix: pair{}, Keys: 1}},
		{"prefix of two", persistence.Range[pair]{Prefix: *a(-1, ""), Keys: 2}},
		{"prefix of all", persistence.Range[pair]{Prefix: *a(256, "xy"), Keys: 3}},
		{"prefix without rows", persistence.Range[pair]{Prefix: pair{Group: "c"}, Keys: 1}},
		{"from text", persistence.Range[pair]{From: a(0, "")}},
		{"before text", persistence.Range[pair]{Before: a(0, "")}},
		{"from number", persistence.Range[pair]{Prefix: *a(0, ""), Keys: 1, From: a(-1, "y")}},
		{"before number", persistence.Range[pair]{Prefix: *a(0, ""), Keys: 1, Before: a(255, "y")}},
		{"between", persistence.Range[pair]{Prefix: *a(0, ""), Keys: 1, From: a(-1, ""), Before: a(2, "")}},
		{"from above before", persistence.Range[pair]{Prefix: *a(0, ""), Keys: 1, From: a(2, ""), Before: a(-1, "")}},
		{"between names", persistence.Range[pair]{Prefix: *a(1, ""), Keys: 2, From: a(0, "x"), Before: a(0, "y")}},
		{"after", persistence.Range[pair]{Prefix: *a(0, ""), Keys: 1, After: a(1, "x")}},
		{"after a row that is not there", persistence.Range[pair]{Prefix: *a(0, ""), Keys: 1, After: a(1, "xx")}},
		{"after below the prefix", persistence.Range[pair]{Prefix: *a(0, ""), Keys: 1, After: &pair{}}},
		{"after above the prefix", persistence.Range[pair]{Prefix: *a(0, ""), Keys: 1, After: &pair{Group: "b"}}},
		{"after the last", persistence.Range[pair]{After: &pair{Group: "b", N: math.MaxInt64, Name: "y"}}},
		{"after and before", persistence.Range[pair]{Prefix: *a(0, ""), Keys: 1, After: a(-1, "y"), Before: a(1, "")}},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, reverse := range []bool{false, true} {
				for _, limit := range []int{0, 1, 3, 1000} {
					q := test.q
					q.Reverse, q.Limit = reverse, limit
					wantEqual(t, fmt.Sprintf("reverse %v, limit %d", reverse, limit), all(t, s, pairs, q), selectPairs(sorted, q))
				}
			}
		})
	}
}

// selectPairs is what a range means, said plainly; rows are sorted by key.
func selectPairs(sorted []pair, q persistence.Range[pair]) []pair {
	var selected []pair
	rows := slices.Clone(sorted)
	if q.Reverse {
		slices.Reverse(rows)
	}
	for _, row := range rows {
		in := true
		for k := range q.Keys {
			in = in && comparePairs(row, q.Prefix, k) == 0
		}
		if q.From != nil {
			in = in && comparePairs(row, *q.From, q.Keys) >= 0
		}
		if q.Before != nil {
			in = in && comparePairs(row, *q.Before, q.Keys) < 0
		}
		if q.After != nil {
			after := compareKeys(row, *q.After)
			in = in && (q.Reverse && after < 0 || !q.Reverse && after > 0)
		}
		if in && (q.Limit == 0 || len(selected) < q.Limit) {
			selected = append(selected, row)
		}
	}
	return selected
}

// comparePairs orders by one key column.
func comparePairs(a, b pair, column int) int {
	switch column {
	case 0:
		return bytes.Compare([]byte(a.Group), []byte(b.Group))
	case 1:
		switch {
		case a.N < b.N:
			return -1
		case a.N > b.N:
			return 1
		}
		return 0
	default:
		return bytes.Compare([]byte(a.Name), []byte(b.Name))
	}
}

func compareKeys(a, b pair) int {
	for column := range 3 {
		if c := comparePairs(a, b, column); c != 0 {
			return c
		}
	}
	return 0
}

func testRangeErrors(t *testing.T, b Backend) {
	s := open(t, b, Options{})
	for _, q := range []persistence.Range[pair]{
		{Keys: -1},
		{Keys: 4},
		{Keys: 3, From: &pair{}},
		{Keys: 3, Before: &pair{}},
		{Limit: -1},
	} {
		if rows, err := pairs.All(within(t), s, q); err == nil {
			t.Errorf("range %+v gives %v and no error", q, rows)
		}
	}
}

// testScanAndCommit commits while it scans: the scan must not change, nor hinder the commit.
func testScanAndCommit(t *testing.T, b Backend) {
	s := open(t, b, Options{})
	for n := range 50 {
		commit(t, s, put(pairs.Put(pair{Group: "g", N: int64(n), Value: "old"})))
	}
	seen := 0
	for row, err := range pairs.Scan(within(t), s, persistence.Range[pair]{}) {
		if err != nil {
			t.Fatal(err)
		}
		if row.Value != "old" || row.N != int64(seen) {
			t.Fatalf("row %d is %+v", seen, row)
		}
		if seen++; seen == 10 {
			commit(t, s, put(pairs.Delete(pair{Group: "g", N: 20}), pairs.Put(pair{Group: "g", N: 30, Value: "new"})))
			if _, ok, err := pairs.Get(within(t), s, pair{Group: "g", N: 20}); ok || err != nil {
				t.Fatalf("a row deleted meanwhile: %v, %v", ok, err)
			}
		}
	}
	if seen != 50 {
		t.Fatalf("the scan gave %d rows", seen)
	}
}

func testPutDelete(t *testing.T, b Backend) {
	s := open(t, b, Options{})
	row := pair{Group: "g", N: 1, Name: "n", Value: "first"}
	if _, ok, err := pairs.Get(within(t), s, row); ok || err != nil {
		t.Fatalf("before the first put: %v, %v", ok, err)
	}
	commit(t, s, put(pairs.Delete(row)))
	commit(t, s, put(pairs.Put(row)))
	row.Value = "second"
	p := commit(t, s, put(pairs.Put(row)))
	row.Pos = uint64(p)
	wantEqual(t, "replaced", group(t, s, "g"), []pair{row})

	// Writes apply in order.
	p = commit(t, s, put(pairs.Delete(row), pairs.Put(pair{Group: "g", N: 2}), pairs.Put(row), pairs.Delete(pair{Group: "g", N: 2})))
	row.Pos = uint64(p)
	wantEqual(t, "in order", group(t, s, "g"), []pair{row})
	commit(t, s, put(pairs.Put(row), pairs.Delete(row)))
	wantEqual(t, "deleted", group(t, s, "g"), nil)
}

func testPositionColumns(t *testing.T, b Backend) {
	s := open(t, b, Options{})
	first := commit(t, s, put(entries.Put(entry{Group: "g", Pos: 99, N: 0}), entries.Put(entry{Group: "g", N: 1})))
	second := commit(t, s, put(entries.Put(entry{Group: "g", N: 0}), entries.Put(entry{Group: "g", N: 1, Born: 5})))
	want := []entry{
		{Group: "g", Pos: uint64(first), N: 0, Born: uint64(first)},
		{Group: "g", Pos: uint64(first), N: 1, Born: uint64(first)},
		{Group: "g", Pos: uint64(second), N: 0, Born: uint64(second)},
		{Group: "g", Pos: uint64(second), N: 1, Born: 5},
	}
	q := persistence.Range[entry]{Prefix: entry{Group: "g"}, Keys: 1}
	wantEqual(t, "stamped", all(t, s, entries, q), want)

	q.From = &entry{Pos: uint64(second)}
	wantEqual(t, "from a position", all(t, s, entries, q), want[2:])

	q.From, q.Before = nil, &entry{Pos: math.MaxUint64}
	wantEqual(t, "before the largest number", all(t, s, entries, q), want)
	q.Before = nil

	// A delete, a read and Absent name the position that the row has.
	commit(t, s, &persistence.Commit{Write: []persistence.Mutation{entries.Delete(want[0])}, Absent: []persistence.Mutation{entries.Put(entry{Group: "g", Pos: 1 << 40})}})
	q.From = nil
	wantEqual(t, "after the delete", all(t, s, entries, q), want[1:])
	if _, ok, err := entries.Get(within(t), s, want[1]); !ok || err != nil {
		t.Errorf("get by position: %v, %v", ok, err)
	}
	refused(t, s, &persistence.Commit{Absent: []persistence.Mutation{entries.Put(want[1])}}, persistence.ErrExists)
}

func testCorrupt(t *testing.T, b Backend) {
	s := open(t, b, Options{})
	commit(t, s, put(pairs.Put(pair{Group: "g", N: 1}), pairs.Put(pair{Group: "g", N: 2})))
	b.Spoil(t, s, pairs.Schema(), &pair{Group: "g", N: 2})
	if _, _, err := pairs.Get(within(t), s, pair{Group: "g", N: 2}); !errors.Is(err, persistence.ErrCorrupt) {
		t.Errorf("get: %v", err)
	}
	rows := 0
	var last error
	for _, err := range pairs.Scan(within(t), s, persistence.Range[pair]{}) {
		if last = err; err == nil {
			rows++
		}
	}
	if rows != 1 || !errors.Is(last, persistence.ErrCorrupt) {
		t.Errorf("the scan gave %d rows and then %v", rows, last)
	}
	if _, ok, err := pairs.Get(within(t), s, pair{Group: "g", N: 1}); !ok || err != nil {
		t.Errorf("the row beside it: %v, %v", ok, err)
	}
}
