package hostile

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/matrixon/matrixon/tests/matrixclient"
)

var update = flag.Bool("update", false, "write testdata/matrix.txt anew, to be read line by line before it is committed")

// who may make a request. The room is private, and its history is for those who were in it.
var whos = []string{"nobody", "unknown", "logged-out", "locked", "suspended", "another", "stranger", "invited", "left", "kicked", "banned", "member"}

// The secrets are planted where only some may see them.
const (
	secretPast   = "secret-of-the-past"        // a message from before they came: for nobody but the owner
	secretBefore = "secret-of-the-room-before" // state that they found: for all who were in the room
	secretAfter  = "secret-of-the-room-after"  // for those who are in it now
	secretOwn    = "secret-of-the-owner"       // for nobody else
)

// stage is a private room, its owner, and what the owner has.
type stage struct {
	w     *world
	ctx   context.Context
	q     request
	owner *person
	event string // the newest message
	n     int
}

func newStage(ctx context.Context, w *world, q request, n int) (*stage, error) {
	s := &stage{w: w, ctx: ctx, q: q, n: n}
	var err error
	if s.owner, err = w.person(ctx, fmt.Sprintf("owner%d", n)); err != nil {
		return nil, err
	}
	o := s.owner
	if o.room, err = o.CreateRoom(ctx, matrixclient.J{"preset": "private_chat", "initial_state": []any{
		matrixclient.J{"type": "m.room.history_visibility", "content": matrixclient.J{"history_visibility": "joined"}}}}); err != nil {
		return nil, err
	}
	user := "/user/" + url.PathEscape(o.UserID)
	for path, body := range map[string]matrixclient.J{
		user + "/account_data/org.example.thing":                                      {"x": secretOwn},
		user + "/rooms/" + url.PathEscape(o.room) + "/account_data/org.example.thing": {"x": secretOwn},
		user + "/rooms/" + url.PathEscape(o.room) + "/tags/u." + secretOwn:            {},
		"/room_keys/keys/" + url.PathEscape(o.room) + "/x?version=" + o.backup: {"first_message_index": 1, "forwarded_count": 0, "is_verified": true,
			"session_data": matrixclient.J{"x": secretOwn}},
	} {
		if _, err := o.Do(ctx, "PUT", path, body); err != nil {
			return nil, err
		}
	}
	filter, err := o.Do(ctx, "POST", user+"/filter", matrixclient.J{"room": matrixclient.J{"timeline": matrixclient.J{"types": []string{secretOwn}}}})
	if err != nil {
		return nil, err
	}
	o.filter = filter.Get("filter_id").Str
	return s, s.say(secretPast, secretBefore)
}

// say leaves a secret in a message and one in the state.
func (s *stage) say(message, state string) error {
	var err error
	if s.event, err = s.owner.Send(s.ctx, s.owner.room, "m.room.message", message, matrixclient.J{"msgtype": "m.text", "body": message}); err != nil {
		return err
	}
	_, err = s.owner.SetState(s.ctx, s.owner.room, "org.example.thing", "x", matrixclient.J{"x": state})
	return err
}

func (s *stage) admin(userID string, change string) error {
	socket := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(s.w.server.DataDir(), "admin.sock"))
	}}}
	resp, err := socket.Post("http://socket/_matrixon/admin/v1/users/"+url.PathEscape(userID), "application/json", strings.NewReader(change))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s of %s: %s", change, userID, resp.Status)
	}
	return nil
}

// enter makes somebody who is what the word says.
func (s *stage) enter(who string) (*matrixclient.Client, error) {
	nobody := &matrixclient.Client{URL: s.w.server.URL, HTTP: s.w.http}
	switch who {
	case "nobody":
		return nobody, nil
	case "unknown":
		nobody.Token = "no-such-token"
		return nobody, nil
	}
	c, err := nobody.Register(s.ctx, fmt.Sprintf("%s%d", who, s.n), "password")
	if err != nil {
		return nil, err
	}
	room := "/rooms/" + url.PathEscape(s.owner.room)
	own := func(what, target string) {
		if err == nil {
			_, err = s.owner.Do(s.ctx, "POST", room+what, matrixclient.J{"user_id": target})
		}
	}
	if !slices.Contains([]string{"stranger", "banned"}, who) {
		own("/invite", c.UserID)
	}
	if !slices.Contains([]string{"stranger", "banned", "invited"}, who) && err == nil {
		err = c.Join(s.ctx, s.owner.room)
	}
	switch who {
	case "logged-out":
		if err == nil {
			_, err = c.Do(s.ctx, "POST", "/logout", matrixclient.J{})
		}
	case "locked", "suspended":
		if err == nil {
			err = s.admin(c.UserID, `{"`+who+`": true}`)
		}
	case "left":
		if err == nil {
			_, err = c.Do(s.ctx, "POST", room+"/leave", matrixclient.J{})
		}
	case "kicked":
		own("/kick", c.UserID)
	case "banned":
		own("/ban", c.UserID)
	}
	return c, err
}

// body is what the specification shows, with the owner in place of the people in it, so that the request means something here.
func (s *stage) body() []byte {
	if len(s.q.Example) == 0 {
		if s.q.Method == "POST" || s.q.Method == "PUT" {
			return []byte("{}")
		}
		return nil
	}
	var body any
	if json.Unmarshal(s.q.Example, &body) != nil {
		return nil
	}
	if m, ok := body.(map[string]any); ok {
		if _, ok := m["user_id"]; ok {
			m["user_id"] = s.owner.UserID
		}
		delete(m, "third_party_signed")
	}
	raw, err := json.Marshal(body)
	if err != nil {
		return nil
	}
	return raw
}

// outcomes has everybody make the request, each in a state of their own.
func (s *stage) outcomes(t *testing.T) (string, bool) {
	clients := map[string]*matrixclient.Client{}
	for _, who := range whos {
		c, err := s.enter(who)
		if err != nil {
			t.Errorf("%s: making somebody who is %s: %v", s.q, who, err)
			return "", false
		}
		clients[who] = c
	}
	if err := s.say(secretAfter, secretAfter); err != nil {
		t.Error(err)
		return "", false
	}
	cells := make([]string, len(whos))
	for i, who := range whos {
		c := clients[who]
		as := &person{Client: c, room: s.owner.room, alias: s.owner.alias, event: s.event, filter: s.owner.filter, backup: s.owner.backup}
		if who == "another" || c.UserID == "" { // asks for what is the owner's
			as = &person{Client: &matrixclient.Client{UserID: s.owner.UserID, DeviceID: s.owner.DeviceID, Token: c.Token}, room: s.owner.room, alias: s.owner.alias,
				event: s.event, filter: s.owner.filter, backup: s.owner.backup}
		}
		got, err := s.w.ask(s.ctx, s.q.Method, as.path(s.q, "", ""), c.Token, s.body())
		if err != nil {
			t.Errorf("%s by somebody who is %s: %v", s.q, who, err)
			continue
		}
		if got.code() == "M_UNRECOGNIZED" {
			return "", false
		}
		if wrong := got.malformed(); wrong != "" {
			t.Errorf("%s by somebody who is %s: %s: %s", s.q, who, wrong, got)
		}
		cells[i] = strconv.Itoa(got.status)
		if code := got.code(); code != "" {
			cells[i] += " " + strings.TrimPrefix(code, "M_")
		}
		for secret, knows := range map[string][]string{
			secretOwn: {}, secretPast: {}, secretAfter: {"member", "another", "suspended"},
			secretBefore: {"member", "another", "suspended", "left", "kicked"},
		} {
			if bytes.Contains(got.body, []byte(secret)) && !slices.Contains(knows, who) {
				t.Errorf("%s tells somebody who is %s %q", s.q, who, secret)
			}
		}
	}
	return row(cells), true
}

// row writes equal outcomes once: "403 FORBIDDEN: stranger invited; 200: member".
func row(cells []string) string {
	var order []string
	by := map[string][]string{}
	for i, cell := range cells {
		if by[cell] == nil {
			order = append(order, cell)
		}
		by[cell] = append(by[cell], whos[i])
	}
	var parts []string
	for _, cell := range order {
		parts = append(parts, cell+": "+strings.Join(by[cell], " "))
	}
	return strings.Join(parts, "; ")
}

// TestWhoMayDoWhat has everybody do everything, and compares the outcomes with testdata/matrix.txt, in which each line was checked
// against the specification. An endpoint that is new has no line, and fails until it has one.
func TestWhoMayDoWhat(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	all := requests(t)
	lines := make([]string, len(all))
	next := make(chan int)
	var workers sync.WaitGroup
	for range 8 {
		workers.Go(func() {
			for i := range next {
				s, err := newStage(ctx, w, all[i], i)
				if err != nil {
					t.Error(err)
					continue
				}
				if cells, served := s.outcomes(t); served {
					lines[i] = all[i].String() + " (" + all[i].ID + ")\n\t" + strings.ReplaceAll(cells, "; ", "\n\t") + "\n"
				}
			}
		})
	}
	for i := range all {
		next <- i
	}
	close(next)
	workers.Wait()
	slices.Sort(lines)
	got := strings.Join(lines, "")
	const file = "testdata/matrix.txt"
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	expected := map[string]string{}
	for _, entry := range entries(string(want)) {
		expected[entry[0]] = entry[1]
	}
	for _, entry := range entries(got) {
		if want := expected[entry[0]]; want != entry[1] {
			t.Errorf("%s\n%s\ninstead of\n%s", entry[0], entry[1], want)
		}
		delete(expected, entry[0])
	}
	for name := range expected {
		t.Errorf("%s is not served", name)
	}
	w.checkLog(t)
}

// entries are the endpoints of the file with their outcomes.
func entries(text string) [][2]string {
	var found [][2]string
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "\t") {
			found[len(found)-1][1] += line
		} else {
			found = append(found, [2]string{strings.TrimSpace(line), ""})
		}
	}
	return found
}
