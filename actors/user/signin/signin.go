// Package signin holds what lets a user in through a browser: how identity providers know the user, the browsers that are signed
// in to the server's own pages, and what the user has decided about clients that ask to be let in (client-server API,
// "OAuth 2.0 API"). Operations run in the lane of the user's actor.
package signin

import (
	"context"
	"errors"
	"net/http"
	"slices"

	"github.com/matrixon/matrixon/actors/user"
	"github.com/matrixon/matrixon/actors/user/account"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// maxBrowsers is in how many browsers a user can be signed in at once. Beyond it the oldest ends.
const maxBrowsers = 20

type operations struct{ accounts account.Options }

// Handlers are the operations for user.New.
func Handlers(o account.Options) []user.Handler {
	ops := operations{o}
	return []user.Handler{
		user.Handle(ops.register), user.Handle(ops.link), user.Handle(ops.unlink), user.Handle(ops.openBrowser), user.Handle(ops.endBrowser),
		user.Handle(ops.grant), user.Handle(ops.redeem), user.Handle(ops.allowReset),
	}
}

// register makes an account for somebody whom an identity provider has named.
func (ops operations) register(ctx context.Context, o *user.Op, m *messages.RegisterExternal) (*messages.Done, error) {
	if m.Account == nil || m.ExternalId == nil {
		return nil, mxerr.BadJSON("an account and an external id are needed")
	}
	return &messages.Done{}, account.Register(ctx, o, m.Account, account.With{
		Rows: external(o, m.ExternalId), Taken: func() error { return taken(ctx, o, m.ExternalId) }})
}

// external gives the rows of an external id.
func external(o *user.Op, id *messages.ExternalID) []persistence.Mutation {
	return []persistence.Mutation{
		schema.ExternalIDs.Put(schema.ExternalID{Provider: id.Provider, Subject: id.Subject, UserID: o.UserID}),
		schema.ExternalIDsByUser.Put(schema.ExternalIDByUser{UserID: o.UserID, Provider: id.Provider, Subject: id.Subject, AddedTS: o.Now.UnixMilli()}),
	}
}

// taken refuses an external id that belongs to an account.
func taken(ctx context.Context, o *user.Op, id *messages.ExternalID) error {
	_, found, err := schema.ExternalIDs.Get(ctx, o.Store, schema.ExternalID{Provider: id.Provider, Subject: id.Subject})
	if err == nil && found {
		err = mxerr.New(http.StatusBadRequest, "M_USER_IN_USE", "whom the identity provider named has an account already")
	}
	return err
}

// link lets an identity provider sign the user in. It can be repeated.
func (ops operations) link(ctx context.Context, o *user.Op, m *messages.LinkExternalID) (*messages.Done, error) {
	if _, err := usable(ctx, o); err != nil {
		return nil, err
	}
	id := m.ExternalId
	if row, ok, err := schema.ExternalIDs.Get(ctx, o.Store, schema.ExternalID{Provider: id.GetProvider(), Subject: id.GetSubject()}); err != nil || ok && row.UserID == o.UserID {
		return &messages.Done{}, err
	}
	rows := external(o, id)
	_, err := o.Commit(ctx, rows, rows, user.Notices{})
	if errors.Is(err, persistence.ErrExists) {
		if err := taken(ctx, o, id); err != nil {
			return nil, err
		}
	}
	return &messages.Done{}, err
}

// unlink takes a link back, unless nobody could get into the account any more.
func (ops operations) unlink(ctx context.Context, o *user.Op, m *messages.UnlinkExternalID) (*messages.Done, error) {
	a, err := usable(ctx, o)
	if err != nil {
		return nil, err
	}
	all, err := schema.ExternalIDsByUser.All(ctx, o.Store, persistence.Range[schema.ExternalIDByUser]{Prefix: schema.ExternalIDByUser{UserID: o.UserID}, Keys: 1})
	if err != nil {
		return nil, err
	}
	id := m.ExternalId
	if !slices.ContainsFunc(all, func(e schema.ExternalIDByUser) bool {
		return e.Provider == id.GetProvider() && e.Subject == id.GetSubject()
	}) {
		return &messages.Done{}, nil
	}
	if a.PasswordHash == "" && len(all) == 1 {
		return nil, mxerr.Forbidden("this is the only way into the account")
	}
	_, err = o.Commit(ctx, []persistence.Mutation{
		schema.ExternalIDs.Delete(schema.ExternalID{Provider: id.Provider, Subject: id.Subject}),
		schema.ExternalIDsByUser.Delete(schema.ExternalIDByUser{UserID: o.UserID, Provider: id.Provider, Subject: id.Subject}),
	}, nil, user.Notices{})
	return &messages.Done{}, err
}

// usable gives the account, which must be one that can be signed in to.
func usable(ctx context.Context, o *user.Op) (schema.Account, error) {
	a, ok, err := schema.Accounts.Get(ctx, o.Store, schema.Account{UserID: o.UserID})
	switch {
	case err != nil:
		return a, err
	case !ok:
		return a, mxerr.NotFound("there is no account %s on this server", o.UserID)
	case a.Deactivated:
		return a, mxerr.New(http.StatusForbidden, "M_USER_DEACTIVATED", "this account has been deactivated")
	}
	return a, nil
}

func (ops operations) openBrowser(ctx context.Context, o *user.Op, m *messages.OpenBrowserSession) (*messages.Done, error) {
	if _, err := usable(ctx, o); err != nil {
		return nil, err
	}
	all, err := schema.BrowserSessions.All(ctx, o.Store, persistence.Range[schema.BrowserSession]{Prefix: schema.BrowserSession{UserID: o.UserID}, Keys: 1})
	if err != nil {
		return nil, err
	}
	var writes []persistence.Mutation
	oldest, kept := -1, 0
	for i, b := range all {
		if account.Expired(o.Now, b.ExpiresTS) || len(m.Replaces) > 0 && string(b.Hash) == string(m.Replaces) {
			writes = append(writes, schema.BrowserSessions.Delete(b))
			continue
		}
		if kept++; oldest < 0 || b.AuthTS < all[oldest].AuthTS {
			oldest = i
		}
	}
	if kept >= maxBrowsers {
		writes = append(writes, schema.BrowserSessions.Delete(all[oldest]))
	}
	writes = append(writes, schema.BrowserSessions.Put(schema.BrowserSession{
		UserID: o.UserID, Hash: m.Hash, AuthTS: o.Now.UnixMilli(), ExpiresTS: m.ExpiresTs, UserAgent: m.UserAgent}))
	_, err = o.Commit(ctx, writes, nil, user.Notices{})
	return &messages.Done{}, err
}

func (ops operations) endBrowser(ctx context.Context, o *user.Op, m *messages.EndBrowserSession) (*messages.Done, error) {
	_, err := o.Commit(ctx, []persistence.Mutation{schema.BrowserSessions.Delete(schema.BrowserSession{UserID: o.UserID, Hash: m.Hash})}, nil, user.Notices{})
	return &messages.Done{}, err
}

func (ops operations) allowReset(ctx context.Context, o *user.Op, m *messages.AllowCrossSigningReset) (*messages.Done, error) {
	if _, err := usable(ctx, o); err != nil {
		return nil, err
	}
	_, err := o.Commit(ctx, []persistence.Mutation{schema.CrossSigningResets.Put(schema.CrossSigningReset{UserID: o.UserID, ExpiresTS: m.ExpiresTs})}, nil, user.Notices{})
	return &messages.Done{}, err
}
