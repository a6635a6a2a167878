package kill

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/matrixon/matrixon/tests/binary"
	"github.com/matrixon/matrixon/tests/matrixclient"
)

// left is what a killed server leaves, and what it had acknowledged.
type left struct {
	server *binary.Server // not running
	user   *matrixclient.Client
	roomID string
	events []string // in order
	before []byte   // the file ACKNOWLEDGED before the last event
	logged int      // bytes of the write-ahead log before the last event
}

// leave has a server acknowledge some events, and kills it. Work in the background may write after the last event.
func leave(t *testing.T) *left {
	t.Helper()
	l := &left{server: binary.Start(t)}
	var err error
	l.user, err = l.at(l.server).Register(t.Context(), "alice", password)
	if err != nil {
		t.Fatal(err)
	}
	if l.roomID, err = l.user.CreateRoom(t.Context(), J{"preset": "private_chat"}); err != nil {
		t.Fatal(err)
	}
	for i := range 30 {
		if l.before, err = os.ReadFile(filepath.Join(store(l.server), acknowledged)); err != nil {
			t.Fatal(err)
		}
		l.logged = len(readLog(t, l.server))
		l.events = append(l.events, l.say(t, l.user, i))
	}
	l.server.Kill()
	return l
}

// say sends the i-th message, with its transaction id.
func (l *left) say(t *testing.T, u *matrixclient.Client, i int) string {
	t.Helper()
	body := fmt.Sprintf("message %d %s", i, strings.Repeat(".", 500))
	eventID, err := u.Send(t.Context(), l.roomID, message, fmt.Sprint("txn", i), J{"msgtype": "m.text", "body": body})
	if err != nil {
		t.Fatal(err)
	}
	return eventID
}

// at is the user's session on a server with a copy of the data.
func (l *left) at(s *binary.Server) *matrixclient.Client {
	c := matrixclient.Client{}
	if l.user != nil {
		c = *l.user
	}
	c.URL, c.HTTP = s.URL, &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	return &c
}

// messages are the messages that a server has in the room.
func (l *left) messages(ctx context.Context, t *testing.T, u *matrixclient.Client) []string {
	t.Helper()
	history, _, err := u.Back(ctx, l.roomID, "", 50, func(string) bool { return false })
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, e := range history {
		if e.Get("type").Str == message {
			found = append(found, e.Get("event_id").Str)
		}
	}
	return found
}

// acknowledged is the file that tells what was acknowledged.
const acknowledged = "ACKNOWLEDGED"

// store is where a server keeps its database.
func store(s *binary.Server) string { return filepath.Join(s.DataDir(), "pebble") }

// editLog changes the newest file of the write-ahead log.
func editLog(t *testing.T, s *binary.Server, change func([]byte) []byte) {
	t.Helper()
	if err := os.WriteFile(newestLog(t, s), change(readLog(t, s)), 0o600); err != nil {
		t.Fatal(err)
	}
}

func readLog(t *testing.T, s *binary.Server) []byte {
	t.Helper()
	content, err := os.ReadFile(newestLog(t, s))
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func newestLog(t *testing.T, s *binary.Server) string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(store(s), "0*.log"))
	if err != nil || len(names) == 0 {
		t.Fatalf("no log: %v", err)
	}
	return slices.Max(names)
}

// TestTornTail leaves a record of the write-ahead log that was begun and not acknowledged: the server says so and starts
// with everything acknowledged.
func TestTornTail(t *testing.T) {
	t.Parallel()
	l := leave(t)
	for _, test := range []struct {
		name string
		tear func([]byte) []byte
		lost int // of the newest messages, which count as not acknowledged
	}{
		{"garbage behind the last record", func(log []byte) []byte { return append(log, strings.Repeat("garbage", 40)...) }, 0},
		{"the record of the last message cut short", func(log []byte) []byte { return log[:l.logged+200] }, 1},
		{"the record of the last message hardly begun", func(log []byte) []byte { return log[:l.logged+20] }, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := l.server.Copy()
			editLog(t, s, test.tear)
			if test.lost > 0 { // as if the machine had died before the answer
				if err := os.WriteFile(filepath.Join(store(s), acknowledged), l.before, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			s.Run()
			if !strings.Contains(s.Log(), "is torn and is dropped") || !strings.Contains(s.Log(), `"level":"WARN"`) {
				t.Errorf("the torn record is not reported:\n%s", s.Log())
			}
			u := l.at(s)
			kept := l.events[:len(l.events)-test.lost]
			same(t, "after the start", l.messages(t.Context(), t, u), kept)
			// What was not acknowledged is sent again.
			again := l.say(t, u, len(l.events)-1)
			if known := again == l.events[len(l.events)-1]; known != (test.lost == 0) {
				t.Errorf("the last message was %s and is now %s", l.events[len(l.events)-1], again)
			}
			same(t, "after the repetition", l.messages(t.Context(), t, u), append(slices.Clone(kept[:len(l.events)-1]), again))
		})
	}
}

// TestDamage damages what was acknowledged: the server refuses to start, says why, and changes nothing, until it is
// told that the loss is accepted.
func TestDamage(t *testing.T) {
	t.Parallel()
	l := leave(t)
	for _, test := range []struct {
		name   string
		damage func([]byte) []byte
		says   string
	}{
		{"a spoiled byte in the middle", func(log []byte) []byte { log[len(log)*2/3] ^= 0x40; return log }, ".log"},
		{"the last record cut short", func(log []byte) []byte { return log[:len(log)-200] }, ".log cannot be read after offset"},
		{"the last records cut off", func(log []byte) []byte { return log[:len(log)/2] }, "position"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := l.server.Copy()
			editLog(t, s, test.damage)
			before := files(t, store(s))
			said := s.RunRefused()
			for _, want := range []string{test.says, store(s), "nothing was changed", "--accept-loss"} {
				if !strings.Contains(said, want) {
					t.Errorf("the refusal lacks %q:\n%s", want, said)
				}
			}
			if after := files(t, store(s)); len(after) < len(before) {
				t.Errorf("files are gone: %d of %d are left", len(after), len(before))
			} else {
				for name, content := range before {
					if after[name] != content {
						t.Errorf("the refusal changed %s", name)
					}
				}
			}

			s.Run("--accept-loss")
			if !strings.Contains(s.Log(), "acknowledged data is lost") || !strings.Contains(s.Log(), `"level":"ERROR"`) {
				t.Errorf("the loss is not reported:\n%s", s.Log())
			}
			u := l.at(s)
			kept := l.messages(t.Context(), t, u)
			if len(kept) == 0 || len(kept) >= len(l.events) {
				t.Errorf("%d of %d messages are left", len(kept), len(l.events))
			}
			same(t, "after the start", kept, l.events[:len(kept)])
			s.Stop()
			s.Run() // which needs no flag any more
			kept = append(kept, l.say(t, l.at(s), len(l.events)))
			same(t, "after another start", l.messages(t.Context(), t, l.at(s)), kept)
		})
	}
}

// files maps the names of the files in a folder to their contents.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for _, e := range entries {
		if e.Type().IsRegular() {
			content, err := os.ReadFile(filepath.Join(dir, e.Name()))
			if err != nil {
				t.Fatal(err)
			}
			found[e.Name()] = string(content)
		}
	}
	return found
}
