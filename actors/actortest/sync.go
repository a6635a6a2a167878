package actortest

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/actors/reader"
	"github.com/matrixon/matrixon/actors/syncer"
	"github.com/matrixon/matrixon/actors/token"
	"github.com/matrixon/matrixon/matrix/filter"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// Answer is the JSON of an answer.
type Answer struct {
	t   TB
	Raw string
}

// With changes a sync before it is sent.
type With func(*syncer.Request)

// Filter is a sync with a filter.
func (w *World) Filter(f J) With {
	w.T.Helper()
	parsed, err := filter.Parse(w.JSON(f))
	if err != nil {
		w.T.Fatal(err)
	}
	return func(r *syncer.Request) { r.Filter = parsed }
}

// Limit is a sync whose timelines have at most so many events.
func (w *World) Limit(n int) With {
	w.T.Helper()
	return w.Filter(J{"room": J{"timeline": J{"limit": n}}})
}

// From is a sync with another token than the last one's.
func From(since string) With { return func(r *syncer.Request) { r.Since = since } }

// FullState is a sync with full_state.
func FullState(r *syncer.Request) { r.FullState = true }

// StateAfter is a sync with use_state_after.
func StateAfter(r *syncer.Request) { r.StateAfter = true }

// Wait is a sync that waits so long.
func Wait(d time.Duration) With { return func(r *syncer.Request) { r.Timeout = d } }

// Sync syncs from where the device stands, and moves it on.
func (d *Device) Sync(with ...With) *Answer {
	d.World.T.Helper()
	a := d.Look(with...)
	d.Since = a.Text("next_batch")
	return a
}

// Look syncs as Sync does, but leaves the device where it stands, as if the answer had got lost.
func (d *Device) Look(with ...With) *Answer {
	d.World.T.Helper()
	a, err := d.Try(context.Background(), with...)
	if err != nil {
		d.World.T.Fatalf("%s %s syncs from %q: %v", d.User, d.ID, d.Since, err)
	}
	return a
}

// Try syncs as Look does; it may fail.
func (d *Device) Try(ctx context.Context, with ...With) (*Answer, error) {
	d.World.T.Helper()
	d.World.Settle()
	req := syncer.Request{UserID: d.User, DeviceID: d.ID, Since: d.Since, Filter: &filter.Filter{}, SetPresence: "offline"}
	for _, change := range with {
		change(&req)
	}
	resp, err := d.World.Syncer.Sync(ctx, req)
	if err != nil {
		return nil, err
	}
	return &Answer{d.World.T, string(d.World.JSON(resp))}, nil
}

// Later is a sync that goes on while the test does something.
func (d *Device) Later(with ...With) func() *Answer {
	d.World.T.Helper()
	type outcome struct {
		answer *Answer
		err    error
	}
	done := make(chan outcome, 1)
	go func() {
		a, err := d.Try(context.Background(), with...)
		done <- outcome{a, err}
	}()
	return func() *Answer {
		d.World.T.Helper()
		select {
		case o := <-done:
			if o.err != nil {
				d.World.T.Fatalf("%s %s syncs: %v", d.User, d.ID, o.err)
			}
			d.Since = o.answer.Text("next_batch")
			return o.answer
		case <-time.After(patience):
			d.World.T.Fatalf("%s %s still syncs", d.User, d.ID)
			return nil
		}
	}
}

// At looks into the answer, by a path of gjson.
func (a *Answer) At(path string) gjson.Result { return gjson.Get(a.Raw, path) }

// Path makes a path of gjson of parts that are taken literally.
func Path(parts ...string) string {
	for i, p := range parts {
		parts[i] = gjson.Escape(p)
	}
	return strings.Join(parts, ".")
}

// Room looks into a room of a section: join, invite, knock or leave.
func (a *Answer) Room(section, roomID, path string) gjson.Result {
	r := a.At(Path("rooms", section, roomID))
	if path == "" {
		return r
	}
	return r.Get(path)
}

// Text is the string at the path, which must be there.
func (a *Answer) Text(path string) string {
	a.t.Helper()
	v := a.At(path)
	if v.Type != gjson.String {
		a.t.Fatalf("no string at %s in %s", path, a.Raw)
	}
	return v.Str
}

// Has fails the test unless the JSON at the path is this.
func (a *Answer) Has(path, want string) *Answer {
	a.t.Helper()
	if got := a.At(path).Raw; got != want {
		a.t.Fatalf("%s is %s, want %s, in %s", path, got, want, a.Raw)
	}
	return a
}

// Lacks fails the test if there is anything at the path.
func (a *Answer) Lacks(path string) *Answer {
	a.t.Helper()
	if v := a.At(path); v.Exists() {
		a.t.Fatalf("%s is %s, but must be absent, in %s", path, v.Raw, a.Raw)
	}
	return a
}

// Timeline are the ids of the events in a room's timeline, joined or left.
func (a *Answer) Timeline(roomID string) []string {
	for _, section := range []string{"join", "leave"} {
		if r := a.Room(section, roomID, "timeline.events.#.event_id"); r.Exists() {
			return Strings(r)
		}
	}
	return nil
}

// State are the state events in the part (state, state_after …) of a joined room, as "type|state key", sorted.
func (a *Answer) State(roomID, part string) []string {
	var tuples []string
	for _, e := range a.Room("join", roomID, gjson.Escape(part)+".events").Array() {
		tuples = append(tuples, e.Get("type").Str+"|"+e.Get("state_key").Str)
	}
	slices.Sort(tuples)
	return tuples
}

// Strings are the values of an array.
func Strings(r gjson.Result) []string {
	values := []string{}
	for _, v := range r.Array() {
		values = append(values, v.String())
	}
	return values
}

// Same fails the test unless the strings are these, in this order.
func Same(t TB, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Fatalf("%s: %q, want %q", what, got, want)
	}
}

// Page reads a page of a room's history, as GET /messages does, and gives the ids of the events and the token to go on
// from, which is empty at the end.
func (d *Device) Page(roomID, from string, limit int, backwards bool) (ids []string, next string) {
	d.World.T.Helper()
	ctx := context.Background()
	page, err := func() (page reader.Stretch, err error) {
		access, err := d.World.Reader.Access(ctx, roomID, d.User)
		if err != nil {
			return page, err
		}
		if err := access.RequireRead(ctx); err != nil {
			return page, err
		}
		gap, err := access.Gap(ctx, from, backwards)
		if err != nil {
			return page, err
		}
		bound, err := access.Bound(ctx, "", backwards)
		if err != nil {
			return page, err
		}
		return access.Read(ctx, reader.Page{From: gap, To: bound, Backwards: backwards, Limit: limit})
	}()
	if err != nil {
		d.World.T.Fatalf("%s pages in %s from %q: %v", d.User, roomID, from, err)
	}
	for _, row := range page.Events {
		ids = append(ids, row.EventID)
	}
	if page.More {
		next = token.Timeline{Seq: page.End}.String()
	}
	return ids, next
}

// Journal are the events of a room, in order.
func (w *World) Journal(roomID string) []schema.Event {
	w.T.Helper()
	rows, err := schema.Events.All(context.Background(), w.Store, persistence.Range[schema.Event]{Prefix: schema.Event{RoomID: roomID}, Keys: 1})
	if err != nil {
		w.T.Fatal(err)
	}
	return rows
}

// Code is the errcode of a refusal.
func Code(err error) string {
	if err == nil {
		return ""
	}
	return mxerr.From(err).Code
}
