package invites_test

import (
	"testing"

	"github.com/matrixon/matrixon/matrix/invites"
)

func TestJudge(t *testing.T) {
	t.Parallel()
	const good, notActually, bad, worse = "@guy:goodguys.org", "@notactuallyguy:goodguys.org", "@x:badguys.org", "@x:reallybadguys.org:8448"
	for name, c := range map[string]struct {
		content string
		want    map[string]invites.Verdict
	}{
		"nothing": {"", map[string]invites.Verdict{good: invites.Allow}},
		"empty":   {`{}`, map[string]invites.Verdict{good: invites.Allow}},
		// The specification's.
		"no invites":        {`{"default_action":"block"}`, map[string]invites.Verdict{good: invites.Block, bad: invites.Block}},
		"an unknown action": {`{"default_action":"dance"}`, map[string]invites.Verdict{good: invites.Allow}},
		// The examples of MSC4155.
		"no invites by filter":           {`{"blocked_servers":["*"]}`, map[string]invites.Verdict{good: invites.Block}},
		"only from goodguys.org":         {`{"allowed_servers":["goodguys.org"],"blocked_servers":["*"]}`, map[string]invites.Verdict{good: invites.Allow, bad: invites.Block}},
		"from all but badguys.org":       {`{"blocked_servers":["badguys.org"]}`, map[string]invites.Verdict{good: invites.Allow, bad: invites.Block}},
		"all but one of goodguys.org":    {`{"blocked_users":["@notactuallyguy:goodguys.org"],"allowed_servers":["goodguys.org"],"blocked_servers":["*"]}`, map[string]invites.Verdict{good: invites.Allow, notActually: invites.Block}},
		"none of badguys.org but one":    {`{"allowed_users":["@x:badguys.org"],"blocked_servers":["badguys.org"]}`, map[string]invites.Verdict{bad: invites.Allow, "@y:badguys.org": invites.Block}},
		"no word to reallybadguys.org":   {`{"allowed_servers":["goodguys.org"],"ignored_servers":["reallybadguys.org"],"blocked_servers":["*"]}`, map[string]invites.Verdict{good: invites.Allow, worse: invites.Ignore, bad: invites.Block}},
		"ignored before blocked":         {`{"ignored_users":["@x:*"],"blocked_users":["*"]}`, map[string]invites.Verdict{bad: invites.Ignore, good: invites.Block}},
		"turned off":                     {`{"enabled":false,"blocked_servers":["*"]}`, map[string]invites.Verdict{bad: invites.Allow}},
		"a list that is none":            {`{"blocked_users":"*","blocked_servers":["*"]}`, map[string]invites.Verdict{bad: invites.Allow}},
		"a list with a number":           {`{"blocked_users":[1],"blocked_servers":["*"]}`, map[string]invites.Verdict{bad: invites.Allow}},
		"enabled with text":              {`{"enabled":"no","blocked_servers":["*"]}`, map[string]invites.Verdict{bad: invites.Allow}},
		"users are not matched by parts": {`{"blocked_users":["badguys.org"]}`, map[string]invites.Verdict{bad: invites.Allow}},
	} {
		for inviter, want := range c.want {
			if got := invites.Judge(inviter, []byte(c.content)); got != want {
				t.Errorf("%s: %s gives %d, want %d", name, inviter, got, want)
			}
		}
	}
	if got := invites.Judge(good, []byte(`{}`), nil, []byte(`{"default_action":"block"}`)); got != invites.Block {
		t.Errorf("the last of several gives %d", got)
	}
}
