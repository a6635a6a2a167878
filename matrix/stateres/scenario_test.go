package stateres_test

import (
	"bufio"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/tidwall/gjson"
	"pgregory.net/rapid"

	"github.com/matrixon/matrixon/matrix/event"
	"github.com/matrixon/matrixon/matrix/roomversion"
	"github.com/matrixon/matrixon/matrix/stateres"
	"github.com/matrixon/matrixon/matrix/stateres/naive"
)

// TestScenarios plays the histories in testdata. A file has these lines, in this order:
//
//	versions 2 11 12
//	event NAME SENDER TYPE[/STATE_KEY] CONTENT [after NAME …] [at TS] [forbidden]
//	state NAME after EVENT [but TYPE/STATE_KEY EVENT|-] …
//	expect [VERSION …:] TYPE/STATE_KEY EVENT|-
//
// An event comes after the one above it and ten ms later, unless it says otherwise. An event that the auth rules do not
// allow by the state before it must say so. The states are resolved; "but" makes one that a faulty server claims. "-" is
// nothing. Senders are local names of the server test.
// HARD_PLACES.md 17: among them are both problems of MSC4297, in both versions of state resolution.
func TestScenarios(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scenarios: %v", err)
	}
	for _, file := range files {
		lines := readLines(t, file)
		name := strings.TrimSuffix(filepath.Base(file), ".txt")
		versions, ok := strings.CutPrefix(lines[0].text, "versions ")
		if !ok {
			t.Fatalf("%s: the first line must list the room versions", file)
		}
		for _, id := range strings.Fields(versions) {
			t.Run(name+"/v"+id, func(t *testing.T) {
				t.Parallel()
				v, ok := roomversion.Get(id)
				if !ok {
					t.Fatalf("no room version %s", id)
				}
				s := &scenario{history: newHistory(t, v), t: t, file: file}
				for _, l := range lines[1:] {
					s.play(l)
				}
				if s.expected == 0 {
					t.Fatalf("%s expects nothing of room version %s", file, id)
				}
			})
		}
	}
}

type line struct {
	number int
	text   string
}

func readLines(t *testing.T, file string) []line {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var lines []line
	scanner := bufio.NewScanner(f)
	for n := 1; scanner.Scan(); n++ {
		if text := strings.TrimSpace(scanner.Text()); text != "" && !strings.HasPrefix(text, "#") {
			lines = append(lines, line{n, text})
		}
	}
	if scanner.Err() != nil || len(lines) == 0 {
		t.Fatalf("%s: %v", file, scanner.Err())
	}
	return lines
}

type scenario struct {
	*history
	t        *testing.T
	file     string
	states   []naive.State
	resolved naive.State
	expected int
}

func (s *scenario) play(l line) {
	s.t.Helper()
	word, rest, _ := strings.Cut(l.text, " ")
	switch word {
	case "event":
		s.playEvent(l, rest)
	case "state":
		s.playState(l, strings.Fields(rest))
	case "expect":
		s.playExpect(l, rest)
	default:
		s.fail(l, "what is %q?", word)
	}
}

func (s *scenario) fail(l line, format string, args ...any) {
	s.t.Helper()
	s.t.Fatalf("%s:%d: %s: "+format, append([]any{s.file, l.number, l.text}, args...)...)
}

func (s *scenario) playEvent(l line, text string) {
	s.t.Helper()
	head, rest, _ := strings.Cut(text, "{")
	end := strings.LastIndex(rest, "}") + 1
	fields, content := strings.Fields(head), "{"+rest[:end]
	if len(fields) != 3 || !gjson.Valid(content) {
		s.fail(l, "not an event")
	}
	d := draft{id: eventID(fields[0]), sender: "@" + fields[1] + ":test", content: content, ts: int64(10 * len(s.ids))}
	typ, stateKey, isState := strings.Cut(fields[2], "/")
	if d.typ = typ; isState {
		d.stateKey = &stateKey
	}
	if len(s.ids) > 0 {
		d.prev = s.ids[len(s.ids)-1:]
	}
	forbidden := false
	words := strings.Fields(rest[end:])
	for i := 0; i < len(words); i++ {
		switch words[i] {
		case "after":
			for d.prev = nil; i+1 < len(words) && s.events[eventID(words[i+1])] != nil; i++ {
				d.prev = append(d.prev, eventID(words[i+1]))
			}
		case "at":
			i++
			ts, err := strconv.ParseInt(words[i], 10, 64)
			if err != nil {
				s.fail(l, "%v", err)
			}
			d.ts = ts
		case "forbidden":
			forbidden = true
		default:
			s.fail(l, "what is %q?", words[i])
		}
	}
	if err := s.add(d); (err != nil) != forbidden {
		s.fail(l, "the auth rules say %v", err)
	}
}

// eventID makes an event id of an event's name; CREATE is the create event.
func eventID(name string) string {
	if name == "CREATE" {
		return "$create"
	}
	return "$" + name
}

func tupleOf(text string) event.Tuple {
	typ, stateKey, _ := strings.Cut(text, "/")
	return event.Tuple{Type: typ, StateKey: stateKey}
}

func (s *scenario) playState(l line, words []string) {
	s.t.Helper()
	if len(words) < 3 || words[1] != "after" || s.after[eventID(words[2])] == nil {
		s.fail(l, "not a state")
	}
	state := maps.Clone(s.after[eventID(words[2])])
	for but := words[3:]; len(but) > 0; but = but[3:] {
		if len(but) < 3 || but[0] != "but" {
			s.fail(l, "not a state")
		}
		delete(state, tupleOf(but[1]))
		if but[2] != "-" {
			if s.events[eventID(but[2])] == nil {
				s.fail(l, "no event %s", but[2])
			}
			state[tupleOf(but[1])] = eventID(but[2])
		}
	}
	s.states = append(s.states, state)
}

func (s *scenario) playExpect(l line, text string) {
	s.t.Helper()
	if versions, rest, some := strings.Cut(text, ": "); some {
		if !slices.Contains(strings.Fields(versions), s.v.ID) {
			return
		}
		text = rest
	}
	if s.resolved == nil {
		s.resolved = requireAgreement(s.t, s.history, s.states)
	}
	place, want, _ := strings.Cut(text, " ")
	got := s.resolved[tupleOf(place)]
	if want == "-" && got != "" || want != "-" && got != eventID(want) {
		s.fail(l, "got %q", got)
	}
	s.expected++
}

// requireAgreement resolves the states in several orders and by the oracle; all must be the same.
func requireAgreement(t rapid.TB, h *history, states []naive.State) naive.State {
	t.Helper()
	want := naive.Resolve(h.v, states, h)
	forward := slices.Clone(states)
	rotated := slices.Concat(states[1:], states[:1])
	backward := slices.Clone(states)
	slices.Reverse(backward)
	for _, order := range [][]naive.State{forward, rotated, backward} {
		got, err := stateres.Resolve(h.v, order, h, stateres.NewChains(h))
		if err != nil {
			t.Fatal(err)
		}
		if !maps.Equal(want, got) {
			t.Fatalf("room version %s: the states\n%v\nresolve to\n%v\nand by the oracle to\n%v", h.v.ID, order, got, want)
		}
	}
	return want
}
