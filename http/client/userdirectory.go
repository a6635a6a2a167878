package client

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/actors/user/account"
	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/matrix/id"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/matrix/words"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// UserDirectory says whom users find.
type UserDirectory struct {
	Enabled bool // otherwise nobody
	// AllUsers lets them find everybody on this server, and not only those with whom they share a room or who are in a public one.
	AllUsers bool
}

// The bounds of a search for users.
const (
	foundUsers    = 10 // when the client does not say
	mostUsers     = 50
	userTermsRead = 2000 // rows of the directory that one search looks at
	usersChecked  = 500  // of those who match, the best of whom it is asked whether the user may find them
	maxUserSearch = 4096 // bytes of a request
)

func (h *rooms) userDirectory() []api.Endpoint {
	return []api.Endpoint{{Methods: post, Path: v3 + "/user_directory/search", R0: true, Auth: api.User, Limit: api.LimitSearch,
		MaxBody: maxUserSearch, WhileSuspended: true, Handler: h.searchUsers}}
}

// foundUser is a user as the directory shows one.
type foundUser struct {
	UserID      string `json:"user_id"`
	DisplayName string `json:"display_name,omitempty"`
	AvatarURL   string `json:"avatar_url,omitempty"`
	rank        int
}

func (h *rooms) searchUsers(r *api.Request) (any, error) {
	var body struct {
		SearchTerm *string `json:"search_term"`
		Limit      *int64  `json:"limit"`
	}
	if err := r.Decode(&body); err != nil {
		return nil, err
	}
	limit := foundUsers
	switch {
	case body.SearchTerm == nil:
		return nil, mxerr.MissingParam("search_term is required")
	case body.Limit != nil && *body.Limit < 1:
		return nil, mxerr.InvalidParam("limit must be at least 1")
	case body.Limit != nil:
		limit = int(min(*body.Limit, mostUsers))
	}
	results, limited := []foundUser{}, false
	if h.UserDirectory.Enabled {
		var err error
		if results, limited, err = h.findUsers(r.Ctx, r.User(), *body.SearchTerm, limit); err != nil {
			return nil, err
		}
	}
	return map[string]any{"results": results, "limited": limited}, nil
}

// findUsers gives the best of those who match and whom the user may find.
func (h *rooms) findUsers(ctx context.Context, userID, term string, limit int) (results []foundUser, limited bool, err error) {
	results = []foundUser{}
	candidates, err := h.userCandidates(ctx, userID, term)
	if err != nil || len(candidates) == 0 {
		return results, false, err
	}
	known, err := h.Reader.Acquaintances(ctx, userID)
	if err != nil {
		return nil, false, err
	}
	for i, c := range candidates {
		if i == usersChecked {
			return results, true, nil
		}
		finds := h.UserDirectory.AllUsers
		if !finds {
			if finds, err = known.Finds(ctx, c.UserID); err != nil {
				return nil, false, err
			}
		}
		if !finds {
			continue
		}
		if len(results) == limit {
			return results, true, nil
		}
		results = append(results, c)
	}
	return results, false, nil
}

// userCandidates gives those who match, best first, whether or not the user may find them.
func (h *rooms) userCandidates(ctx context.Context, asker, term string) ([]foundUser, error) {
	server := ""
	if strings.HasPrefix(term, "@") { // a user id, or its beginning
		term, server, _ = strings.Cut(term, ":")
	}
	tokens := words.Query(term, 1)
	if len(tokens) == 0 {
		return nil, nil
	}
	// The longest token is likely to be that of the fewest.
	rarest := slices.MaxFunc(tokens, func(a, b words.Token) int { return cmp.Compare(len(a.Text), len(b.Text)) })
	var found []foundUser
	seen := map[string]bool{asker: true}
	for row, err := range schema.UserTerms.Scan(ctx, h.Store, persistence.Range[schema.UserTerm]{From: &schema.UserTerm{Term: rarest.Text}, Limit: userTermsRead}) {
		if err != nil {
			return nil, err
		}
		if !rarest.Matches(row.Term) {
			break
		}
		if seen[row.UserID] || !strings.HasPrefix(id.ServerOf(row.UserID), server) {
			continue
		}
		seen[row.UserID] = true
		u, err := h.foundUser(ctx, row.UserID, term, tokens)
		if err != nil {
			return nil, err
		}
		if u.rank > 0 {
			found = append(found, u)
		}
	}
	slices.SortFunc(found, func(a, b foundUser) int {
		return cmp.Or(cmp.Compare(b.rank, a.rank), cmp.Compare(a.UserID, b.UserID))
	})
	return found, nil
}

// foundUser reads a user's profile. The rank is 0 unless all tokens match; whole words count more than their beginnings, a whole
// name more than a part of one, and somebody with a profile more than somebody without.
func (h *rooms) foundUser(ctx context.Context, userID, term string, tokens []words.Token) (foundUser, error) {
	u := foundUser{UserID: userID}
	for field, value := range map[string]*string{displayName: &u.DisplayName, avatarURL: &u.AvatarURL} {
		row, _, err := schema.ProfileFields.Get(ctx, h.Store, schema.ProfileField{UserID: userID, Field: field})
		if err != nil {
			return u, err
		}
		*value = gjson.ParseBytes(row.Value).String()
	}
	terms := account.Terms(userID, u.DisplayName)
	whole := 0
	for _, token := range tokens {
		if !slices.ContainsFunc(terms, token.Matches) {
			return u, nil
		}
		if slices.Contains(terms, token.Text) {
			whole++
		}
	}
	u.rank = 1 + 4*whole
	localpart, _, _ := id.ParseUser(userID)
	if term = strings.TrimPrefix(term, "@"); strings.EqualFold(term, localpart) || strings.EqualFold(term, u.DisplayName) {
		u.rank += 1000
	}
	if u.DisplayName != "" {
		u.rank++
	}
	if u.AvatarURL != "" {
		u.rank++
	}
	return u, nil
}

// userDirectoryVersion is that of the terms in the directory; another one has it made anew.
const userDirectoryVersion = "1"

// ListUsers puts all users of the server into the user directory if it is missing, or of another version. It is to be called
// when a node has started, and may be on several.
func ListUsers(ctx context.Context, d Deps, store persistence.Store) error {
	name := schema.Setting{Name: "user_directory"}
	setting, _, err := schema.Settings.Get(ctx, store, name)
	if err != nil || setting.Value == userDirectoryVersion {
		return err
	}
	for a, err := range schema.Accounts.Scan(ctx, store, persistence.Range[schema.Account]{}) {
		if err != nil {
			return err
		}
		if a.Deactivated {
			continue
		}
		if _, err := AskUser[*messages.Done](ctx, d, a.UserID, &messages.ListUser{}); err != nil {
			return err
		}
	}
	name.Value = userDirectoryVersion
	_, err = persistence.Await(ctx, store, &persistence.Commit{Write: []persistence.Mutation{schema.Settings.Put(name)}})
	return err
}
