package signin

import (
	"context"
	"errors"
	"net/http"

	"github.com/go-json-experiment/json"

	"github.com/matrixon/matrixon/actors/user"
	"github.com/matrixon/matrixon/actors/user/account"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// grant writes down what the user has decided about a client. A code is decided about once, by one user.
func (ops operations) grant(ctx context.Context, o *user.Op, m *messages.GrantOAuth) (*messages.Done, error) {
	if _, err := usable(ctx, o); err != nil {
		return nil, err
	}
	row := schema.OAuthGrants.Put(schema.OAuthGrant{Hash: m.Hash, UserID: o.UserID, ClientID: m.ClientId, DeviceID: m.DeviceId, Scope: m.Scope,
		RedirectURI: m.RedirectUri, Challenge: m.Challenge, ExpiresTS: m.ExpiresTs, Denied: m.Denied, Nonce: m.Nonce})
	_, err := o.Commit(ctx, []persistence.Mutation{row}, []persistence.Mutation{row}, user.Notices{})
	if errors.Is(err, persistence.ErrExists) {
		if again, err := ops.granted(ctx, o, m); err != nil || again {
			return &messages.Done{}, err
		}
		err = mxerr.New(http.StatusBadRequest, "M_UNKNOWN", "this has been decided already")
	}
	return &messages.Done{}, err
}

// granted reports whether this is what was granted before: who asks may have missed the answer.
func (ops operations) granted(ctx context.Context, o *user.Op, m *messages.GrantOAuth) (bool, error) {
	g, ok, err := schema.OAuthGrants.Get(ctx, o.Store, schema.OAuthGrant{Hash: m.Hash})
	return ok && g.UserID == o.UserID && g.Denied == m.Denied, err
}

// errGrant is of a code that is good for nothing.
var errGrant = mxerr.Forbidden("the code is not good, or no longer")

// redeem opens the session that a grant is for. Who shows a code a second time may have stolen it, or the one who came first
// has: so what it bought ends (RFC 6749, section 4.1.2).
func (ops operations) redeem(ctx context.Context, o *user.Op, m *messages.RedeemOAuth) (*messages.Done, error) {
	if _, err := usable(ctx, o); err != nil {
		return nil, err
	}
	g, ok, err := schema.OAuthGrants.Get(ctx, o.Store, schema.OAuthGrant{Hash: m.Hash})
	if err != nil {
		return nil, err
	}
	if !ok || g.UserID != o.UserID || g.Denied || m.Session == nil {
		return nil, errGrant
	}
	if account.Expired(o.Now, g.ExpiresTS) {
		return nil, errGrant
	}
	if g.Spent {
		if again, err := ops.redeemed(ctx, o, g, m); err != nil || again {
			return &messages.Done{}, err
		}
		if err := ops.revoke(ctx, o, g); err != nil {
			return nil, err
		}
		return nil, errGrant
	}
	m.Session.DeviceId, m.Session.DisplayName = g.DeviceID, ""
	client, ok, err := schema.OAuthClients.Get(ctx, o.Store, schema.OAuthClient{ClientID: g.ClientID})
	if err != nil {
		return nil, err
	}
	var writes []persistence.Mutation
	if ok {
		m.Session.DisplayName = clientName(client)
		client.Used = true
		writes = append(writes, schema.OAuthClients.Put(client))
	}
	session, err := account.OpenSession(ctx, o, m.Session)
	if err != nil {
		return nil, err
	}
	g.Spent = true
	writes = append(writes, session...)
	writes = append(writes, schema.OAuthGrants.Put(g), schema.OAuthSessions.Put(schema.OAuthSession{UserID: o.UserID, DeviceID: g.DeviceID,
		SessionID: m.SessionId, ClientID: g.ClientID, Scope: g.Scope, CreatedTS: o.Now.UnixMilli()}))
	_, err = o.Commit(ctx, writes, nil, user.Notices{})
	return &messages.Done{}, err
}

// redeemed reports whether this very request has spent the grant: who asks may have missed the answer.
func (ops operations) redeemed(ctx context.Context, o *user.Op, g schema.OAuthGrant, m *messages.RedeemOAuth) (bool, error) {
	s, ok, err := schema.OAuthSessions.Get(ctx, o.Store, schema.OAuthSession{UserID: o.UserID, DeviceID: g.DeviceID})
	return ok && m.SessionId != "" && s.SessionID == m.SessionId, err
}

// revoke ends the device that a grant has opened, unless it was let in anew by something else since.
func (ops operations) revoke(ctx context.Context, o *user.Op, g schema.OAuthGrant) error {
	s, ok, err := schema.OAuthSessions.Get(ctx, o.Store, schema.OAuthSession{UserID: o.UserID, DeviceID: g.DeviceID})
	if err != nil || !ok || s.ClientID != g.ClientID {
		return err
	}
	return ops.accounts.RemoveDevices(ctx, o, g.DeviceID)
}

// clientName is what a client calls itself, empty when it does not say.
func clientName(c schema.OAuthClient) string {
	var metadata struct {
		Name string `json:"client_name"`
	}
	if json.Unmarshal(c.Metadata, &metadata) != nil {
		return ""
	}
	return metadata.Name
}
