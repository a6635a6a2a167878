package verdict_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/matrixon/matrixon/matrix/event"
	"github.com/matrixon/matrixon/matrix/glob"
	"github.com/matrixon/matrixon/matrix/roomversion"
	"github.com/matrixon/matrixon/matrix/signing"
	"github.com/matrixon/matrixon/matrix/verdict"
)

func rules() *verdict.Rules {
	return &verdict.Rules{ExemptPower: 50,
		Users:   []*glob.Glob{glob.New("@spam*:*")},
		Servers: []*glob.Glob{glob.New("*.bad.example"), glob.New("[2001:db8::1]")},
		Types:   []string{"m.sticker", "m.file"},
		Text:    []*regexp.Regexp{regexp.MustCompile(`(?i)buy\s+now`)}, MaxText: 20, MaxMentions: 2,
		NewcomerMS: 3_600_000, NewTypes: []string{"m.image", "org.example.poll"}}
}

func draft(t *testing.T, sender, typ, content string, stateKey ...string) *event.Event {
	t.Helper()
	v, _ := roomversion.Get("11")
	p := event.Proto{Type: typ, Sender: sender, RoomID: "!r:a.example", Content: []byte(content), Depth: 5}
	if len(stateKey) > 0 {
		p.StateKey = &stateKey[0]
	}
	e, err := event.Build(p, v, "a.example", signing.NewKey("a", []byte(strings.Repeat("k", 32))))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestRules(t *testing.T) {
	t.Parallel()
	const user = "@u:a.example"
	old := verdict.Facts{JoinedMS: 7_200_000}
	for name, c := range map[string]struct {
		sender, typ, content string
		state                []string
		facts                verdict.Facts
		want                 verdict.Rule
	}{
		"a message":                   {user, "m.room.message", `{"msgtype":"m.text","body":"hello"}`, nil, old, ""},
		"a blocked user":              {"@Spammer:a.example", "m.room.message", `{"body":"hello"}`, nil, old, verdict.Users},
		"who joins":                   {"@spam:a.example", "m.room.member", `{"membership":"join"}`, []string{"@spam:a.example"}, old, verdict.Users},
		"who leaves":                  {"@spam:a.example", "m.room.member", `{"membership":"leave"}`, []string{"@spam:a.example"}, old, ""},
		"who makes others leave":      {"@spam:a.example", "m.room.member", `{"membership":"leave"}`, []string{user}, old, verdict.Users},
		"a blocked server":            {"@u:x.bad.example:8448", "m.reaction", `{}`, nil, old, verdict.Servers},
		"a blocked address":           {"@u:[2001:db8::1]:8448", "m.reaction", `{}`, nil, old, verdict.Servers},
		"a server of that end":        {"@u:bad.example", "m.reaction", `{}`, nil, old, ""},
		"a blocked type":              {user, "m.sticker", `{}`, nil, old, verdict.Types},
		"a blocked msgtype":           {user, "m.room.message", `{"msgtype":"m.file"}`, nil, old, verdict.Types},
		"an edit into it":             {user, "m.room.message", `{"msgtype":"m.text","m.new_content":{"msgtype":"m.file"}}`, nil, old, verdict.Types},
		"a msgtype elsewhere":         {user, "org.example.x", `{"msgtype":"m.file"}`, nil, old, ""},
		"text":                        {user, "m.room.message", `{"msgtype":"m.text","body":"BUY  NOW"}`, nil, old, verdict.Text},
		"text anywhere":               {user, "org.example.x", `{"a":[1,{"b":["buy now"]}]}`, nil, old, verdict.Text},
		"text that is encrypted":      {user, "m.room.encrypted", `{"ciphertext":"buy now"}`, nil, old, ""},
		"names of members of objects": {user, "org.example.x", `{"buy now":true}`, nil, old, ""},
		"a long text":                 {user, "m.room.message", `{"body":"123456789012345678901"}`, nil, old, verdict.MaxText},
		"a text that may be":          {user, "m.room.message", `{"body":"12345678901234567890"}`, nil, old, ""},
		"an edit into a long one":     {user, "m.room.message", `{"body":"*","m.new_content":{"body":"123456789012345678901"}}`, nil, old, verdict.MaxText},
		"two mentions":                {user, "m.room.message", `{"m.mentions":{"user_ids":["@a:a","@b:a","@a:a"]}}`, nil, old, ""},
		"two and the room":            {user, "m.room.message", `{"m.mentions":{"user_ids":["@a:a","@b:a"],"room":true}}`, nil, old, verdict.Mentions},
		"three links": {user, "m.room.message",
			`{"formatted_body":"<a href=\"https://matrix.to/#/@a:a\">a</a> https://matrix.to/#/%40b:a <a href='https://matrix.to/#/@c:a'>c</a>"}`, nil, old, verdict.Mentions},
		"no list of mentions":         {user, "m.room.message", `{"m.mentions":{"user_ids":"@a:a","room":"yes"}}`, nil, old, ""},
		"a newcomer's picture":        {user, "m.room.message", `{"msgtype":"m.image"}`, nil, verdict.Facts{JoinedMS: 60_000}, verdict.Newcomer},
		"a newcomer's text":           {user, "m.room.message", `{"msgtype":"m.text"}`, nil, verdict.Facts{JoinedMS: 60_000}, ""},
		"a picture later":             {user, "m.room.message", `{"msgtype":"m.image"}`, nil, old, ""},
		"a poll of who is not there":  {user, "org.example.poll", `{}`, nil, verdict.Facts{}, verdict.Newcomer},
		"a moderator":                 {"@spam:x.bad.example", "m.sticker", `{"body":"buy now"}`, nil, verdict.Facts{Power: 50}, ""},
		"nearly a moderator":          {"@spam:x.bad.example", "m.sticker", `{"body":"buy now"}`, nil, verdict.Facts{Power: 49}, verdict.Users},
		"who made the room":           {"@spam:x.bad.example", "m.sticker", `{"body":"buy now"}`, nil, verdict.Facts{Infinite: true}, ""},
		"content of the wrong shapes": {user, "m.room.message", `{"body":7,"msgtype":{},"m.mentions":[],"m.new_content":"x","formatted_body":null}`, nil, old, ""},
	} {
		got := verdict.Rule("")
		refusal := rules().Judge(draft(t, c.sender, c.typ, c.content, c.state...), c.facts)
		if refusal != nil {
			got = refusal.Rule
			if refusal.Error() == "" || strings.Contains(strings.ToLower(refusal.Reason), "buy") {
				t.Errorf("%s: the reason is %q", name, refusal.Reason)
			}
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestNoRules(t *testing.T) {
	t.Parallel()
	r := &verdict.Rules{ExemptPower: 50}
	e := draft(t, "@spam:x.bad.example", "m.sticker", `{"body":"`+strings.Repeat("buy now ", 1000)+`"}`)
	if refusal := r.Judge(e, verdict.Facts{}); refusal != nil {
		t.Error(refusal)
	}
	if r.Free(e, verdict.Facts{}) {
		t.Error("who may be counted is free")
	}
}
