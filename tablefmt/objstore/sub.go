package objstore

import (
	"context"
	"iter"
	"strings"
)

// Sub gives the part of a store that lies in a folder, as a store of its own:
// the path "x" of it is the path folder + "/" + x of the store. The empty
// folder is the store itself. If the folder is no good path, every call gets
// a *PathError.
func Sub(store Store, folder string) Store {
	if folder == "" {
		return store
	}
	if s, ok := store.(*sub); ok {
		store, folder = s.store, s.prefix+folder
	}
	return &sub{store: store, prefix: folder + "/"}
}

type sub struct {
	store  Store
	prefix string // ends with a slash
}

// path checks before it joins, so that an error names what the caller gave.
func (s *sub) path(op, p string) (string, error) {
	if err := CheckPath(op, p); err != nil {
		return "", err
	}
	return s.prefix + p, nil
}

func (s *sub) Get(ctx context.Context, p string) ([]byte, error) {
	full, err := s.path("Get", p)
	if err != nil {
		return nil, err
	}
	return s.store.Get(ctx, full)
}

func (s *sub) Open(ctx context.Context, p string) (Reader, error) {
	full, err := s.path("Open", p)
	if err != nil {
		return nil, err
	}
	return s.store.Open(ctx, full)
}

func (s *sub) Stat(ctx context.Context, p string) (Info, error) {
	full, err := s.path("Stat", p)
	if err != nil {
		return Info{}, err
	}
	info, err := s.store.Stat(ctx, full)
	info.Path = strings.TrimPrefix(info.Path, s.prefix)
	return info, err
}

func (s *sub) PutIfAbsent(ctx context.Context, p string, data []byte) error {
	full, err := s.path("PutIfAbsent", p)
	if err != nil {
		return err
	}
	return s.store.PutIfAbsent(ctx, full, data)
}

func (s *sub) Put(ctx context.Context, p string, data []byte) error {
	full, err := s.path("Put", p)
	if err != nil {
		return err
	}
	return s.store.Put(ctx, full, data)
}

func (s *sub) Create(ctx context.Context, p string) (Writer, error) {
	full, err := s.path("Create", p)
	if err != nil {
		return nil, err
	}
	return s.store.Create(ctx, full)
}

func (s *sub) List(ctx context.Context, prefix, after string) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		if err := CheckPrefix("List", prefix); err != nil {
			yield(Info{}, err)
			return
		}
		if after != "" {
			after = s.prefix + after
		}
		for info, err := range s.store.List(ctx, s.prefix+prefix, after) {
			info.Path = strings.TrimPrefix(info.Path, s.prefix)
			if !yield(info, err) {
				return
			}
		}
	}
}

func (s *sub) Delete(ctx context.Context, p string) error {
	full, err := s.path("Delete", p)
	if err != nil {
		return err
	}
	return s.store.Delete(ctx, full)
}

func (s *sub) URL() string {
	url := s.store.URL()
	if !strings.HasSuffix(url, "/") {
		url += "/"
	}
	return url + strings.TrimSuffix(s.prefix, "/")
}
