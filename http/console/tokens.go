package console

import (
	"net/url"
	"strconv"
	"time"

	"github.com/matrixon/matrixon/http/admin"
	"github.com/matrixon/matrixon/matrix/mxerr"
)

// tokensShown is a page of registration tokens.
type tokensShown struct {
	Tokens []admin.RegistrationToken
	Match  string
	More   string // the address of the next page
}

func (c *console) tokens(v *view) (string, any, error) {
	p := v.part()
	found, err := c.Operator.RegistrationTokens(v.Ctx, p, v.Now)
	return "Registration tokens", tokensShown{Tokens: found.Tokens, Match: p.Match, More: following(Base+"/tokens", found.Next, url.Values{"match": {p.Match}})}, err
}

// changeTokens makes a token, which comes into the list, or ends one, in whose place there is nothing then. Tokens are secrets: they stand in
// no address.
func (c *console) changeTokens(v *view) (outcome, error) {
	if token := v.form.Get("delete"); token != "" {
		err := c.Operator.DeleteRegistrationToken(v.Ctx, v.by(), token)
		return outcome{notice: "The token is ended", page: "tokens", block: "ended"}, err
	}
	n := admin.NewRegistrationToken{}
	if text := v.form.Get("uses"); text != "" {
		uses, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return outcome{}, mxerr.InvalidParam("%.64q is no number of accounts", text)
		}
		n.UsesAllowed = &uses
	}
	if text := v.form.Get("days"); text != "" {
		days, err := strconv.ParseInt(text, 10, 64)
		if err != nil || days < 1 || days > daysMost {
			return outcome{}, mxerr.InvalidParam("a token is good for 1 to %d days", daysMost)
		}
		n.ExpiresTS = v.Now.Add(time.Duration(days) * 24 * time.Hour).UnixMilli()
	}
	made, err := c.Operator.CreateRegistrationToken(v.Ctx, v.by(), n, v.Now)
	return outcome{notice: "The token is made", page: "tokens", block: "made", data: made}, err
}

// daysMost is how long a token that ends can be good.
const daysMost = 3650
