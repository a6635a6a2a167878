package peers

import (
	"context"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/matrix/event"
)

// Crafter is a stranger that has rooms: its events are made by hand, and may break every rule. It answers as an honest server would, except
// where the test says otherwise.
type Crafter struct {
	*Stranger

	mu      sync.Mutex
	rooms   map[string]*Room
	answers map[string]http.HandlerFunc
	only    map[string]bool         // nil: every endpoint is answered
	beyond  []string                // what was asked that only has not
	asked   map[string]int          // by endpoint
	got     map[string]*event.Event // what other servers sent, by id
	edus    []gjson.Result
	news    chan struct{} // closed when something was sent or asked
}

// Crafter starts one, which ends with the test.
func (a *Authority) Crafter(t testing.TB) *Crafter {
	t.Helper()
	c := &Crafter{Stranger: a.Stranger(t), rooms: map[string]*Room{}, answers: map[string]http.HandlerFunc{}, asked: map[string]int{},
		got: map[string]*event.Event{}, news: make(chan struct{})}
	c.Mux.HandleFunc("/_matrix/federation/", c.serve)
	return c
}

// User is the id of a user of the crafter.
func (c *Crafter) User(localpart string) string { return "@" + localpart + ":" + c.Name }

// Answer says how an endpoint is answered from now on, such as make_join or state_ids; nil: honestly.
func (c *Crafter) Answer(endpoint string, h http.HandlerFunc) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.answers[endpoint] = h
}

// Only has the crafter answer these endpoints and no others, as small servers do: those are answered by a 404 that is no Matrix error.
func (c *Crafter) Only(endpoints ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.only = map[string]bool{}
	for _, endpoint := range endpoints {
		c.only[endpoint] = true
	}
}

// Beyond is what was asked that the crafter does not answer (Only): methods and paths.
func (c *Crafter) Beyond() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.beyond)
}

// Sent are the EDUs that other servers have sent.
func (c *Crafter) Sent() []gjson.Result {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.edus)
}

// Asked is how often an endpoint was asked.
func (c *Crafter) Asked(endpoint string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.asked[endpoint]
}

// Share has another crafter answer for this one's room too.
func (c *Crafter) Share(room *Room, with *Crafter) {
	with.mu.Lock()
	defer with.mu.Unlock()
	with.rooms[room.ID] = room
}

// Send sends a transaction and gives what became of its PDUs, by event id; "" is well.
func (c *Crafter) Send(to *Server, txnID string, body any) (map[string]string, error) {
	answer, err := c.Ask(to, http.MethodPut, "/_matrix/federation/v1/send/"+url.PathEscape(txnID), body)
	if err != nil {
		return nil, err
	}
	fates := map[string]string{}
	for id, fate := range answer.Get("pdus").Map() {
		fates[id] = fate.Get("error").Str
	}
	return fates, nil
}

// Got waits for an event that another server sends.
func (c *Crafter) Got(eventID string) *event.Event {
	c.t.Helper()
	var found *event.Event
	c.wait("the event "+eventID, func() bool {
		found = c.got[eventID]
		return found != nil
	})
	return found
}

// GotEDU waits for an EDU that fits.
func (c *Crafter) GotEDU(what string, fits func(edu gjson.Result) bool) {
	c.t.Helper()
	c.wait(what, func() bool {
		for _, edu := range c.edus {
			if fits(edu) {
				return true
			}
		}
		return false
	})
}

// WaitAsked waits until an endpoint was asked so often.
func (c *Crafter) WaitAsked(endpoint string, times int) {
	c.t.Helper()
	c.wait(endpoint, func() bool { return c.asked[endpoint] >= times })
}

// told wakes those who wait.
func (c *Crafter) told() {
	close(c.news)
	c.news = make(chan struct{})
}

func (c *Crafter) wait(what string, come func() bool) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), time.Minute)
	defer cancel()
	for {
		c.mu.Lock()
		ok, news := come(), c.news
		c.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-news:
		case <-ctx.Done():
			c.t.Fatalf("%s was not sent, or asked for, %s in time", c.Name, what)
		}
	}
}

// serve answers a request about a room.
func (c *Crafter) serve(w http.ResponseWriter, r *http.Request) {
	parts := strings.Split(strings.TrimPrefix(r.URL.EscapedPath(), "/_matrix/federation/"), "/")
	for i, part := range parts {
		parts[i], _ = url.PathUnescape(part)
	}
	parts = append(parts, "", "", "")
	endpoint, first, second := parts[1], parts[2], parts[3]
	if endpoint == "media" {
		endpoint = first
	}
	c.mu.Lock()
	c.asked[endpoint]++
	c.told()
	answer, room := c.answers[endpoint], c.rooms[first]
	unknown := c.only != nil && !c.only[endpoint]
	if unknown {
		c.beyond = append(c.beyond, r.Method+" "+r.URL.RequestURI())
	}
	c.mu.Unlock()
	switch {
	case unknown:
		http.Error(w, "this server does not listen there", http.StatusNotFound)
	case answer != nil:
		answer(w, r)
	case endpoint == "send":
		c.take(w, r)
	case endpoint == "event":
		c.event(w, first)
	case room != nil && honest[endpoint] != nil:
		honest[endpoint](c, room, w, r, second)
	default:
		JSON(w, http.StatusNotFound, map[string]string{"errcode": "M_UNRECOGNIZED", "error": "nothing of the kind"})
	}
}

// JSON answers with a body as JSON.
func JSON(w http.ResponseWriter, status int, body any) {
	raw, err := json.Marshal(body)
	if err != nil {
		status, raw = http.StatusInternalServerError, []byte(err.Error())
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(raw) // the asker may have gone
}

// take takes a transaction.
func (c *Crafter) take(w http.ResponseWriter, r *http.Request) {
	var body struct {
		PDUs []jsontext.Value `json:"pdus"`
		EDUs []jsontext.Value `json:"edus"`
	}
	raw, err := io.ReadAll(r.Body)
	if err != nil {
		return // the sender has gone, or the test ends
	}
	if err := json.Unmarshal(raw, &body); err != nil {
		c.t.Errorf("a transaction: %v", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	fates := map[string]any{}
	for _, raw := range body.PDUs {
		room := c.rooms[gjson.GetBytes(raw, "room_id").Str]
		if room == nil {
			continue
		}
		e, err := event.Parse(raw, room.Version)
		if err != nil || !e.HashOK() {
			c.t.Errorf("%s was sent the bad event %s: %v", c.Name, raw, err)
			continue
		}
		fates[e.ID()] = map[string]any{}
		c.got[e.ID()] = e
		room.Add(e)
	}
	for _, raw := range body.EDUs {
		c.edus = append(c.edus, gjson.ParseBytes(raw))
	}
	c.told()
	JSON(w, http.StatusOK, map[string]any{"pdus": fates})
}

func (c *Crafter) event(w http.ResponseWriter, eventID string) {
	c.mu.Lock()
	rooms := maps.Clone(c.rooms)
	c.mu.Unlock()
	for _, room := range rooms {
		if e := room.Event(eventID); e != nil {
			JSON(w, http.StatusOK, map[string]any{"origin": c.Name, "pdus": []jsontext.Value{e.JSON()}})
			return
		}
	}
	JSON(w, http.StatusNotFound, map[string]string{"errcode": "M_NOT_FOUND", "error": "no such event"})
}
