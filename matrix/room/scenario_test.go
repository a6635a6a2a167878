package room

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"

	"github.com/matrixon/matrixon/matrix/roomversion"
)

var update = flag.Bool("update", false, "rewrite the scenarios' answers")

// TestScenarios plays the scripts of testdata. A line with ">" is a request, those after it are the answer:
//
//	= 9            event 9 was made          ! 403 …   the refusal
//	= 7 again      event 7 says it already   ok        done
//
// $9 in a request is the id of event 9. Users are named by their localpart. A script may be played in several room versions:
// "# versions: 10 12".
func TestScenarios(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("there are no scenarios", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			t.Parallel()
			raw, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			script := string(raw)
			for _, version := range versionsOf(script) {
				played := play(t, script, version)
				if *update {
					if err := os.WriteFile(file, []byte(played), 0o644); err != nil {
						t.Fatal(err)
					}
				} else if diff := cmp.Diff(script, played); diff != "" {
					t.Errorf("in room version %s (-want +got):\n%s", version, diff)
				}
			}
		})
	}
}

func versionsOf(script string) []string {
	for line := range strings.Lines(script) {
		if list, ok := strings.CutPrefix(line, "# versions:"); ok {
			return strings.Fields(list)
		}
	}
	return []string{roomversion.Default}
}

// play gives the script with the answers that the machine gave.
func play(t *testing.T, script, version string) string {
	p := player{world: newWorld(t), version: version}
	var out strings.Builder
	for line := range strings.Lines(script) {
		line = strings.TrimRight(line, "\n")
		request, ok := strings.CutPrefix(line, "> ")
		if ok {
			out.WriteString(line + "\n" + p.play(request))
		} else if line == "" || strings.HasPrefix(line, "#") {
			out.WriteString(line + "\n")
		}
	}
	return out.String()
}

type player struct {
	*world
	version string
}

var ruleNumber = regexp.MustCompile(`\(rule [0-9.]+\)`)

var eventRef = regexp.MustCompile(`\$(\d+)\b`)

func (p *player) play(line string) string {
	line = eventRef.ReplaceAllStringFunc(line, func(ref string) string {
		n, err := strconv.Atoi(ref[1:])
		if err != nil || n < 1 || n > len(p.entries) {
			return ref
		}
		return p.entries[n-1].Event.ID()
	})
	word, rest, _ := strings.Cut(line, " ")
	switch word {
	case "create":
		name, body, _ := strings.Cut(rest, " ")
		return p.answer(p.create(user(name), strings.Replace(orEmpty(body), "{", `{"room_version":"`+p.version+`",`, 1)))
	case "show":
		return p.show(rest)
	case "reload":
		p.m = p.reload(uint64(len(p.entries)))
		return "ok\n"
	case "elsewhere":
		name, roomID, _ := strings.Cut(rest, " ")
		p.elsewhere[Elsewhere{UserID: user(name), RoomID: roomID}] = true
		return "ok\n"
	}
	name, rest, _ := strings.Cut(rest, " ")
	return p.answer(p.ask(p.input(word, p.from(user(name)), rest)))
}

func user(name string) string {
	if strings.Contains(name, ":") {
		return "@" + name
	}
	return "@" + name + ":test"
}

func orEmpty(body string) string {
	if body == "" {
		return `{"preset":"public_chat"}`
	}
	return body
}

var playedActions = map[string]Action{
	"join": Join, "invite": Invite, "knock": Knock, "leave": Leave, "kick": Kick, "ban": Ban, "unban": Unban, "profile": Refresh,
}

// input is the request of a line: who is in from, what is in rest.
func (p *player) input(word string, from From, rest string) Input {
	first, second, _ := strings.Cut(rest, " ")
	if action, ok := playedActions[word]; ok {
		change := ChangeMembership{From: from, Action: action, Target: from.UserID}
		switch action {
		case Join, Knock, Leave:
			change.Reason = rest
		case Refresh:
			change.Content = []byte(rest)
		default:
			change.Target, change.Reason = user(first), second
		}
		return change
	}
	switch word {
	case "send", "may":
		first, txn, _ := strings.Cut(first, "/")
		return Propose{From: from, TxnID: txn, CheckOnly: word == "may",
			Event: Proposal{Type: first, Sender: from.UserID, Content: []byte(second)}}
	case "state":
		key, content, _ := strings.Cut(second, " ")
		key = strings.Trim(key, `"`)
		return Propose{From: from, Event: Proposal{Type: first, StateKey: &key, Sender: from.UserID, Content: []byte(content)}}
	case "redact":
		return Propose{From: from, Event: Proposal{Type: "m.room.redaction", Sender: from.UserID, Content: []byte(`{}`), Redacts: first}}
	case "receipt":
		eventID, thread, _ := strings.Cut(second, " ")
		return SendReceipt{From: from, Type: first, EventID: eventID, ThreadID: thread}
	case "typing":
		return SetTyping{From: from, Typing: first == "on", TimeoutMS: 20_000}
	case "forget":
		return Forget{From: from}
	case "alias":
		return CreateAlias{From: from, Alias: first}
	case "unalias":
		return DeleteAlias{From: from, Alias: first}
	case "publish":
		return SetPublished{From: from, Published: first == "on"}
	}
	p.t.Fatalf("the scenario asks for %q", word)
	return nil
}

func (p *player) answer(r Reply) string {
	switch {
	case r.Err != nil:
		// Rules have different numbers in different room versions.
		return fmt.Sprintf("! %d %s %s\n", r.Err.Status, r.Err.Code, ruleNumber.ReplaceAllString(r.Err.Message, "(rule)"))
	case r.Entry == nil:
		return "ok\n"
	case r.Entry.Seq == 1:
		return "= 1\n"
	case r.Entry.Seq != p.m.Seq() || p.entries[r.Entry.Seq-1].ReceivedTS != p.now:
		return fmt.Sprintf("= %d again\n", r.Entry.Seq)
	}
	return fmt.Sprintf("= %d\n", r.Entry.Seq)
}

func (p *player) show(what string) string {
	word, rest, _ := strings.Cut(what, " ")
	var lines []string
	switch word {
	case "events":
		for _, e := range p.entries {
			line := fmt.Sprintf("%d %s", e.Seq, e.Event.Type())
			if key, ok := e.Event.StateKey(); ok {
				line += fmt.Sprintf(" %q", key)
			}
			lines = append(lines, line)
		}
	case "content":
		for _, e := range p.entries {
			if e.Event.ID() == rest {
				lines = append(lines, string(e.Event.Content()))
			}
		}
	case "members":
		for userID, row := range p.members {
			line := fmt.Sprintf("%s %s, event %d, joined with %d", userID, row.Membership, row.Seq, row.JoinedSeq)
			if row.Forgotten {
				line += ", forgotten"
			}
			lines = append(lines, line)
		}
	case "stripped":
		lines = append(lines, string(p.members[user(rest)].StrippedState))
	case "relations":
		for _, r := range p.relations {
			lines = append(lines, fmt.Sprintf("%d %s %s by %s of %s", r.Seq, r.RelType, r.Key, r.Sender, r.Type))
		}
	case "receipts":
		for key, r := range p.receipts {
			lines = append(lines, fmt.Sprintf("%s %s thread %q at %d", key.UserID, key.Type, key.ThreadID, r.Seq))
		}
	case "typing":
		lines = append(lines, strings.Join(p.typing, " "))
	case "summary":
		shown := p.summary
		shown.Version = ""
		raw, err := json.Marshal(shown, json.Deterministic(true), json.OmitZeroStructFields(true))
		if err != nil {
			p.t.Fatal(err)
		}
		lines = append(lines, string(raw))
	default:
		p.t.Fatalf("the scenario shows %q", what)
	}
	if word != "events" {
		slices.Sort(lines)
	}
	if strings.Join(lines, "") == "" {
		return "nothing\n"
	}
	return strings.Join(lines, "\n") + "\n"
}
