package client

import (
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/matrixon/matrixon/actors/user/account"
	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/http/api/address"
	"github.com/matrixon/matrixon/http/api/uia"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence/schema"
)

// thirdPartyIDs are the endpoints for email addresses and phone numbers (client-server API, "Adding Account Administrative Contact
// Information"). Of phone numbers there are none; nor of email addresses where the server sends no email, as the capability
// m.3pid_changes says. No identity server is asked for anything.
func (a *accounts) thirdPartyIDs() []api.Endpoint {
	const base = "/_matrix/client/v3/account/3pid"
	refusing := func(path string, auth api.Auth, e *mxerr.Error) api.Endpoint {
		return api.Endpoint{Methods: post, Path: path, R0: true, Auth: auth, Limit: api.LimitRegister, Handler: func(r *api.Request) (any, error) {
			if _, err := r.Object(); err != nil {
				return nil, err
			}
			return nil, e
		}}
	}
	unsupported := mxerr.New(http.StatusBadRequest, "M_THREEPID_MEDIUM_NOT_SUPPORTED", "this server keeps no such addresses")
	denied := mxerr.New(http.StatusForbidden, "M_THREEPID_DENIED", "this server keeps no such addresses")
	unverified := mxerr.New(http.StatusForbidden, "M_THREEPID_AUTH_FAILED", "this server trusts no identity server; use /account/3pid/add")
	all := []api.Endpoint{
		{Methods: get, Path: base, R0: true, Auth: api.User, Handler: a.getThirdPartyIDs},
		{Methods: post, Path: base + "/delete", R0: true, Auth: api.User, Handler: a.deleteThirdPartyID},
		{Methods: post, Path: base + "/unbind", R0: true, Auth: api.User, Handler: a.unbindThirdPartyID},
		refusing(base, api.User, unverified),
		refusing(base+"/bind", api.User, unsupported),
		refusing(base+"/msisdn/requestToken", api.Public, unsupported),
		refusing("/_matrix/client/v3/register/msisdn/requestToken", api.Public, denied),
		refusing("/_matrix/client/v3/account/password/msisdn/requestToken", api.Public, denied),
	}
	if a.o.Addresses == nil {
		return append(all,
			refusing(base+"/add", api.User, unsupported),
			refusing(base+"/email/requestToken", api.Public, unsupported),
			refusing("/_matrix/client/v3/register/email/requestToken", api.Public, denied),
			refusing("/_matrix/client/v3/account/password/email/requestToken", api.Public, denied))
	}
	asking := func(path string, handler api.Handler) api.Endpoint {
		return api.Endpoint{Methods: post, Path: path, R0: true, Limit: api.LimitRegister, Handler: handler}
	}
	return append(all,
		api.Endpoint{Methods: post, Path: base + "/add", R0: true, Auth: api.User, Limit: api.LimitAccount, Handler: a.addThirdPartyID},
		asking(base+"/email/requestToken", func(r *api.Request) (any, error) { return a.requestToken(r, address.Add) }),
		asking("/_matrix/client/v3/register/email/requestToken", func(r *api.Request) (any, error) {
			if o := a.o.Registration(); !o.Open && !o.TokensRequired {
				return nil, mxerr.Forbidden("registration is disabled on this server")
			}
			return a.requestToken(r, address.Register)
		}),
		asking("/_matrix/client/v3/account/password/email/requestToken", func(r *api.Request) (any, error) { return a.requestToken(r, address.Password) }),
		api.Endpoint{Methods: get, Path: address.Path, Limit: api.LimitRegister, Handler: a.confirmPage},
		api.Endpoint{Methods: post, Path: address.Path, Limit: api.LimitRegister, Handler: a.confirmAddress})
}

// thirdPartyID is an address as clients see it.
type thirdPartyID struct {
	Medium      string `json:"medium"`
	Address     string `json:"address"`
	ValidatedAt int64  `json:"validated_at"`
	AddedAt     int64  `json:"added_at"`
}

func (a *accounts) getThirdPartyIDs(r *api.Request) (any, error) {
	rows, err := account.ThirdPartyIDs(r.Ctx, a.Store, r.User())
	if err != nil {
		return nil, err
	}
	list := make([]thirdPartyID, len(rows))
	for i, row := range rows {
		list[i] = thirdPartyID{row.Medium, row.Address, row.ValidatedTS, row.AddedTS}
	}
	return map[string][]thirdPartyID{"threepids": list}, nil
}

// named reads which address a request is about, in its canonical form where it has one.
func named(r *api.Request) (medium, addr string, err error) {
	var q struct {
		Medium   string `json:"medium"`
		Address  string `json:"address"`
		IDServer string `json:"id_server"`
	}
	if err := r.Decode(&q); err != nil {
		return "", "", err
	}
	if q.Medium == "" || q.Address == "" {
		return "", "", mxerr.MissingParam("medium and address say what to remove")
	}
	if canonical, ok := address.Canonical(q.Address); ok && q.Medium == account.Email {
		q.Address = canonical
	}
	return q.Medium, q.Address, nil
}

// notUnbound says that no identity server was told: this server tells none of anything.
var notUnbound = map[string]string{"id_server_unbind_result": "no-support"}

func (a *accounts) deleteThirdPartyID(r *api.Request) (any, error) {
	medium, addr, err := named(r)
	if err != nil {
		return nil, err
	}
	return notUnbound, a.ask(r, r.User(), &messages.RemoveThirdPartyID{Medium: medium, Address: addr})
}

func (a *accounts) unbindThirdPartyID(r *api.Request) (any, error) {
	_, _, err := named(r)
	return notUnbound, err
}

// addThirdPartyID adds a validated address to the account.
func (a *accounts) addThirdPartyID(r *api.Request) (any, error) {
	var q struct {
		SID          string `json:"sid"`
		ClientSecret string `json:"client_secret"`
	}
	if err := r.Decode(&q); err != nil {
		return nil, err
	}
	if q.SID == "" || q.ClientSecret == "" {
		return nil, mxerr.MissingParam("sid and client_secret are required")
	}
	if _, err := a.o.UIA.Require(r, uia.ByPassword); err != nil {
		return nil, err
	}
	proven, err := a.o.Addresses.Use(r.Ctx, r.Now, address.Add, q.SID, q.ClientSecret)
	var refused *mxerr.Error
	if errors.As(err, &refused) && refused.Status == http.StatusUnauthorized {
		return nil, mxerr.New(http.StatusBadRequest, "M_THREEPID_AUTH_FAILED", "%s", refused.Message)
	}
	if err != nil {
		return nil, err
	}
	return nil, a.ask(r, r.User(), &messages.AddThirdPartyID{Medium: account.Email, Address: proven.Address, ValidatedTs: proven.TS})
}

var clientSecret = regexp.MustCompile(`^[0-9a-zA-Z.=_-]{1,255}$`)

// maxNextLink is the longest next_link, in bytes.
const maxNextLink = 2048

// requestToken sends a message with a link to an address (client-server API, "POST …/email/requestToken").
func (a *accounts) requestToken(r *api.Request, purpose address.Purpose) (any, error) {
	var q struct {
		ClientSecret string `json:"client_secret"`
		Email        string `json:"email"`
		SendAttempt  *int64 `json:"send_attempt"`
		NextLink     string `json:"next_link"`
	}
	if err := r.Decode(&q); err != nil {
		return nil, err
	}
	if q.ClientSecret == "" || q.Email == "" || q.SendAttempt == nil {
		return nil, mxerr.MissingParam("client_secret, email and send_attempt are required")
	}
	if !clientSecret.MatchString(q.ClientSecret) {
		return nil, mxerr.InvalidParam("client_secret must be 1 to 255 of the characters 0-9 a-z A-Z . = _ -")
	}
	addr, ok := address.Canonical(q.Email)
	if !ok {
		return nil, mxerr.InvalidParam("the email address is not valid")
	}
	if *q.SendAttempt < 1 {
		return nil, mxerr.InvalidParam("send_attempt must be at least 1")
	}
	if q.NextLink != "" && !goodLink(q.NextLink) {
		return nil, mxerr.InvalidParam("next_link must be an http or https URL")
	}
	owner, taken, err := schema.ThirdPartyIDs.Get(r.Ctx, a.Store, schema.ThirdPartyID{Medium: account.Email, Address: addr})
	switch {
	case err != nil:
		return nil, err
	case purpose == address.Password && !taken:
		return nil, mxerr.New(http.StatusBadRequest, "M_THREEPID_NOT_FOUND", "the address belongs to no account")
	case purpose != address.Password && taken:
		return nil, account.ThirdPartyIDInUse()
	}
	sid, err := a.o.Addresses.Begin(r.Ctx, r.Now, address.Request{
		Purpose: purpose, Address: addr, ClientSecret: q.ClientSecret, NextLink: q.NextLink, SendAttempt: *q.SendAttempt, UserID: owner.UserID,
	}, func() error { return r.TakeFor(api.LimitEmail, addr) })
	return map[string]string{"sid": sid}, err
}

// goodLink reports whether a browser may be sent there.
func goodLink(link string) bool {
	u, err := url.Parse(link)
	return err == nil && len(link) <= maxNextLink && (u.Scheme == "https" || u.Scheme == "http") && u.Host != "" && u.User == nil && !strings.ContainsAny(link, "\r\n")
}
