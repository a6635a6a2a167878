package persistence

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

type full struct {
	Text  string  `col:"text,key"`
	Blob  []byte  `col:"blob,key"`
	Int   int64   `col:"int,key"`
	Uint  uint64  `col:"uint,key"`
	Flag  bool    `col:"flag,key"`
	Pos   uint64  `col:"pos,key,position"`
	VText string  `col:"v_text"`
	VNull *string `col:"v_null"`
	VBlob []byte  `col:"v_blob"`
	VJSON []byte  `col:"v_json,json"`
	VInt  int64   `col:"v_int"`
	VUint uint64  `col:"v_uint"`
	VFlag bool    `col:"v_flag"`
	VPos  uint64  `col:"v_pos,position"`
	VOnce uint64  `col:"v_once,position,once"`
}

var fullSchema = newSchema[full]("full")

func genFull(rt *rapid.T) full {
	text := rapid.OneOf(rapid.String(), rapid.StringOfN(rapid.SampledFrom([]rune{0, 1, 'a', 0xff}), 0, 4, -1))
	blob := rapid.SliceOfN(rapid.SampledFrom([]byte{0, 1, 2, 0xfe, 0xff}), 0, 5)
	null := rapid.Ptr(text, true)
	number := rapid.OneOf(rapid.Int64(), rapid.SampledFrom([]int64{math.MinInt64, -1, 0, 1, math.MaxInt64}))
	row := full{
		Text: text.Draw(rt, "text"), Blob: blob.Draw(rt, "blob"), Int: number.Draw(rt, "int"),
		Uint: uint64(number.Draw(rt, "uint")), Flag: rapid.Bool().Draw(rt, "flag"), Pos: rapid.Uint64().Draw(rt, "pos"),
		VText: text.Draw(rt, "v text"), VNull: null.Draw(rt, "v null"), VBlob: blob.Draw(rt, "v blob"), VJSON: blob.Draw(rt, "v json"),
		VInt: number.Draw(rt, "v int"), VUint: rapid.Uint64().Draw(rt, "v uint"), VFlag: rapid.Bool().Draw(rt, "v flag"),
		VPos: rapid.Uint64().Draw(rt, "v pos"), VOnce: rapid.Uint64().Draw(rt, "v once"),
	}
	if rapid.Bool().Draw(rt, "nil") {
		row.VBlob = nil
	}
	return row
}

func compareFull(a, b full) int {
	flag := func(f bool) int {
		if f {
			return 1
		}
		return 0
	}
	return cmp.Or(strings.Compare(a.Text, b.Text), bytes.Compare(a.Blob, b.Blob), cmp.Compare(a.Int, b.Int),
		cmp.Compare(a.Uint, b.Uint), cmp.Compare(flag(a.Flag), flag(b.Flag)), cmp.Compare(a.Pos, b.Pos))
}

func TestRoundTripAndOrder(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		a, b := genFull(rt), genFull(rt)
		ka, kb := fullSchema.EncodeKey(nil, &a, nil), fullSchema.EncodeKey(nil, &b, nil)
		if got, want := bytes.Compare(ka, kb), compareFull(a, b); got != want {
			rt.Fatalf("keys compare as %d, rows as %d", got, want)
		}
		if len(ka) < len(kb) && bytes.HasPrefix(kb, ka) {
			rt.Fatalf("a key is the beginning of another: %x, %x", ka, kb)
		}
		got := b // everything must be overwritten
		value := fullSchema.EncodeValue(nil, &a, nil)
		if err := errors.Join(fullSchema.DecodeKey(&got, ka), fullSchema.DecodeValue(&got, value)); err != nil {
			rt.Fatal(err)
		}
		clear(ka)
		clear(value) // the row must not share their memory
		if a.Blob == nil {
			a.Blob = []byte{}
		}
		if d := gocmp.Diff(a, got); d != "" {
			rt.Fatalf("(-want +got):\n%s", d)
		}
	})
}

// TestPrefix checks that the encoding of the first columns is a prefix of exactly the keys that have them.
func TestPrefix(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		a, b := genFull(rt), genFull(rt)
		if rapid.Bool().Draw(rt, "same text") {
			b.Text = a.Text
		}
		for keys := range 3 {
			lower, upper, err := fullSchema.Bounds([]byte{7}, RowRange{Prefix: &a, Keys: keys})
			if err != nil {
				rt.Fatal(err)
			}
			key := fullSchema.EncodeKey([]byte{7}, &b, nil)
			in := bytes.Compare(key, lower) >= 0 && bytes.Compare(key, upper) < 0
			want := keys < 1 || a.Text == b.Text && (keys < 2 || bytes.Equal(a.Blob, b.Blob))
			if in != want {
				rt.Fatalf("%d keys: %+v is in the range of %+v: %v", keys, b, a, in)
			}
		}
	})
}

func TestStamp(t *testing.T) {
	t.Parallel()
	for _, once := range []uint64{0, 5} {
		row := full{Pos: 1, VPos: 2, VOnce: once}
		var stamps []int
		buf := fullSchema.EncodeKey([]byte("before"), &row, &stamps)
		key := len(buf)
		buf = fullSchema.EncodeValue(buf, &row, &stamps)
		Stamp(buf, stamps, 99)
		var got full
		if err := errors.Join(fullSchema.DecodeKey(&got, buf[len("before"):key]), fullSchema.DecodeValue(&got, buf[key:])); err != nil {
			t.Fatal(err)
		}
		want := once
		if once == 0 {
			want = 99
		}
		if got.Pos != 99 || got.VPos != 99 || got.VOnce != want {
			t.Errorf("once %d: stamped as %+v", once, got)
		}
		if row.Pos != 1 || row.VPos != 2 || row.VOnce != once {
			t.Errorf("the submitted row was changed to %+v", row)
		}
	}
}

// TestAddedColumns reads rows that were written when the table had fewer columns.
func TestAddedColumns(t *testing.T) {
	t.Parallel()
	type before struct {
		ID   string `col:"id,key"`
		Text string `col:"text"`
	}
	type after struct {
		ID    string  `col:"id,key"`
		Text  string  `col:"text"`
		Count int64   `col:"count"`
		Note  *string `col:"note"`
		Blob  []byte  `col:"blob"`
		Pos   uint64  `col:"pos,position"`
	}
	old, grown := newSchema[before]("grown"), newSchema[after]("grown")
	note := "stale"
	row := after{ID: "x", Text: "stale", Count: 1, Note: &note, Blob: []byte{1}, Pos: 1}
	if err := grown.DecodeValue(&row, old.EncodeValue(nil, &before{Text: "kept"}, nil)); err != nil {
		t.Fatal(err)
	}
	if d := gocmp.Diff(after{ID: "x", Text: "kept"}, row); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	// The other way round something would be lost when the row is written again.
	if err := old.DecodeValue(&before{}, grown.EncodeValue(nil, &row, nil)); !errors.Is(err, ErrCorrupt) {
		t.Errorf("an older version read a newer row: %v", err)
	}
}

func TestDeclarationErrors(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		row  any
		want string
	}{
		{"ok", struct {
			A int `col:"a,key"`
		}{}, "not a column type"},
		{"ok", struct {
			A string `col:"a"`
		}{}, "no key column"},
		{"ok", struct {
			A string `col:"a"`
			B string `col:"b,key"`
		}{}, "must come before"},
		{"ok", struct {
			A string `col:"a,key"`
			B string `col:"a"`
		}{}, "declared twice"},
		{"ok", struct {
			A string `col:"a,key"`
			B string
		}{}, "col tag"},
		{"ok", struct {
			A *string `col:"a,key"`
		}{}, "cannot be null"},
		{"ok", struct {
			A string `col:"a,key,position"`
		}{}, "must be a uint64"},
		{"ok", struct {
			A string `col:"a,key"`
			B uint64 `col:"b,once"`
		}{}, "only a position"},
		{"ok", struct {
			A []byte `col:"a,key,json"`
		}{}, "json must be"},
		{"ok", struct {
			A string `col:"a,key,unique"`
		}{}, "unknown mark"},
		{"ok", struct {
			A string `col:"A,key"`
		}{}, "column name"},
		{"Not ok", struct {
			A string `col:"a,key"`
		}{}, "the name must be"},
		{"ok", "text", "must be structs"},
	} {
		if _, err := parseSchema(test.name, reflect.TypeOf(test.row)); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%q, %T: error %v, want %q", test.name, test.row, err, test.want)
		}
	}
}

func TestColumnsAndFields(t *testing.T) {
	t.Parallel()
	if fullSchema.Keys() != 6 || len(fullSchema.Columns()) != 15 || fullSchema.Name() != "full" {
		t.Fatalf("schema: %+v", fullSchema)
	}
	want := full{Text: "a", Blob: []byte("b"), Int: -1, Uint: 1, Flag: true, Pos: 2, VText: "c", VBlob: []byte("d")}
	values := fullSchema.Values(nil, &want)
	got := fullSchema.NewRow()
	for i, p := range fullSchema.Pointers(nil, got) {
		if typ := strings.ReplaceAll(fmt.Sprintf("%T", values[i]), "uint8", "byte"); typ != fullSchema.Columns()[i].Type.String() {
			t.Errorf("column %d is called %v but is %s", i, fullSchema.Columns()[i].Type, typ)
		}
		reflect.ValueOf(p).Elem().Set(reflect.ValueOf(values[i]))
	}
	if d := gocmp.Diff(&want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

// FuzzDecode decodes hostile bytes: the result is ErrCorrupt, or a row that encodes and decodes to itself.
func FuzzDecode(f *testing.F) {
	text := "x"
	for _, row := range []full{{}, {Text: "a\x00b", Blob: []byte{0, 1}, Int: -5, VNull: &text, VBlob: []byte{0xff}, VJSON: []byte("{}"), VUint: 1 << 40}} {
		f.Add(fullSchema.EncodeKey(nil, &row, nil), fullSchema.EncodeValue(nil, &row, nil))
	}
	f.Add([]byte{0}, []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01})
	f.Fuzz(func(t *testing.T, key, value []byte) {
		var row, again full
		if err := fullSchema.DecodeKey(&row, key); err == nil {
			if got := fullSchema.EncodeKey(nil, &row, nil); !bytes.Equal(got, key) {
				t.Errorf("the key %x becomes %x", key, got)
			}
		} else if !errors.Is(err, ErrCorrupt) {
			t.Errorf("key: %v", err)
		}
		row = full{}
		if err := fullSchema.DecodeValue(&row, value); err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Errorf("value: %v", err)
			}
			return
		}
		if err := fullSchema.DecodeValue(&again, fullSchema.EncodeValue(nil, &row, nil)); err != nil || !gocmp.Equal(row, again) {
			t.Errorf("the row %+v becomes %+v, %v", row, again, err)
		}
	})
}

// event has the shape of the largest ordinary row.
type event struct {
	RoomID   string  `col:"room_id,key"`
	Seq      uint64  `col:"seq,key"`
	EventID  string  `col:"event_id"`
	Type     string  `col:"type"`
	StateKey *string `col:"state_key"`
	Sender   string  `col:"sender"`
	Status   uint64  `col:"status"`
	Depth    int64   `col:"depth"`
	SentTS   int64   `col:"sent_ts"`
	Received int64   `col:"received_ts"`
	Pos      uint64  `col:"pos,position"`
	Before   []byte  `col:"state_before"`
	After    []byte  `col:"state_after"`
	Replaces uint64  `col:"replaces_seq"`
	Redacted string  `col:"redacted_by"`
	DeviceID string  `col:"device_id"`
	TxnID    string  `col:"txn_id"`
	JSON     []byte  `col:"json,json"`
}

func BenchmarkCodec(b *testing.B) {
	s := newSchema[event]("event")
	row := &event{RoomID: "!abcdefghijklmnopqr:example.org", Seq: 1234, EventID: "$" + strings.Repeat("e", 43), Type: "m.room.message",
		Sender: "@alice:example.org", Depth: 1300, SentTS: 1_760_000_000_000, Received: 1_760_000_000_100, Before: make([]byte, 16),
		After: make([]byte, 16), DeviceID: "ABCDEFGHIJ", TxnID: "m1760000000000.1", JSON: bytes.Repeat([]byte("j"), 900)}
	key, value := s.EncodeKey(nil, row, nil), s.EncodeValue(nil, row, nil)
	b.Run("encode", func(b *testing.B) {
		b.ReportAllocs()
		buf := make([]byte, 0, 2048)
		for b.Loop() {
			buf = s.EncodeValue(s.EncodeKey(buf[:0], row, nil), row, nil)
		}
	})
	b.Run("decode", func(b *testing.B) {
		b.ReportAllocs()
		into := s.NewRow()
		for b.Loop() {
			if err := errors.Join(s.DecodeKey(into, key), s.DecodeValue(into, value)); err != nil {
				b.Fatal(err)
			}
		}
	})
}
