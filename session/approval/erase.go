package approval

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"gocloud.dev/gcerrors"
)

// The pace of erasing. A bucket may lock an object for long after its recording
// is over, so what was refused waits for hours.
const (
	erasuresAtOnce = 200
	eraseAgain     = 6 * time.Hour
	pruneEvery     = time.Hour
)

// eraseQueued erases objects of deleted recordings; with all, also those whose
// next attempt is not due. It reports how many are gone and how many remain.
func (s *Store) eraseQueued(ctx context.Context, all bool) (erased, kept int, err error) {
	due := micros(s.now())
	if all {
		due = 1<<63 - 1
	}
	for after := ""; ; {
		rows, err := s.db.read.QueryContext(ctx, `SELECT blob_key FROM erasures WHERE retry_at <= $1 AND blob_key > $2 ORDER BY blob_key LIMIT $3`, due, after, erasuresAtOnce)
		if err != nil {
			return erased, kept, err
		}
		keys, err := scanStrings(rows)
		if err != nil || len(keys) == 0 {
			return erased, kept, err
		}
		for _, key := range keys {
			gone, err := s.eraseOne(ctx, key)
			if err != nil {
				return erased, kept, err
			}
			if gone {
				erased++
			} else {
				kept++
			}
			after = key
		}
	}
}

func (s *Store) eraseOne(ctx context.Context, key string) (gone bool, err error) {
	asking, cancel := context.WithTimeout(ctx, bucketTimeout)
	defer cancel()
	why := s.erase(asking, key)
	if ctx.Err() != nil {
		return false, ctx.Err()
	}
	if why == nil {
		_, err = s.db.write.ExecContext(ctx, `DELETE FROM erasures WHERE blob_key = $1`, key)
		return err == nil, err
	}
	s.log.DebugContext(ctx, "an object of a deleted recording is still kept", "key", key, "error", why)
	_, err = s.db.write.ExecContext(ctx, `UPDATE erasures SET attempts = attempts + 1, retry_at = $1, last_error = $2 WHERE blob_key = $3`,
		micros(s.now().Add(eraseAgain)), gcerrors.Code(why).String(), key)
	return false, err
}

// erase deletes an object. One that is not there is erased.
func (s *Store) erase(ctx context.Context, key string) error {
	var client *s3.Client
	if s.blobs.As(&client) {
		return s.eraseVersions(ctx, client, key)
	}
	err := s.blobs.Delete(ctx, key)
	if gcerrors.Code(err) == gcerrors.NotFound {
		return nil
	}
	return err
}

// eraseVersions deletes every version of an object, and every marker of a
// deletion. Without a version a bucket that keeps them would only say that the
// object is gone. The keys of pieces are the same in S3: nothing in them is
// escaped.
func (s *Store) eraseVersions(ctx context.Context, client *s3.Client, key string) error {
	u, err := url.Parse(s.cfg.RecordingsURL)
	if err != nil {
		return err
	}
	bucket, name := u.Host, u.Query().Get("prefix")+key
	in := &s3.ListObjectVersionsInput{Bucket: &bucket, Prefix: &name}
	var errs []error
	for {
		page, err := client.ListObjectVersions(ctx, in)
		if err != nil {
			return fmt.Errorf("listing the versions of an object: %w", err)
		}
		var versions []*string
		for _, v := range page.Versions {
			if v.Key != nil && *v.Key == name {
				versions = append(versions, v.VersionId)
			}
		}
		for _, v := range page.DeleteMarkers {
			if v.Key != nil && *v.Key == name {
				versions = append(versions, v.VersionId)
			}
		}
		for _, version := range versions {
			if _, err := client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &bucket, Key: &name, VersionId: version}); err != nil {
				errs = append(errs, fmt.Errorf("deleting a version of an object: %w", err))
			}
		}
		if page.IsTruncated == nil || !*page.IsTruncated {
			return errors.Join(errs...)
		}
		in.KeyMarker, in.VersionIdMarker = page.NextKeyMarker, page.NextVersionIdMarker
	}
}

// pruneDue deletes what the configured retention says, now and then.
func (s *Store) pruneDue(ctx context.Context) error {
	if s.cfg.Retention > 0 {
		done, err := s.Prune(ctx, s.now().Add(-s.cfg.Retention), false)
		if err != nil {
			return err
		}
		if len(done.Deleted) > 0 || done.Kept > 0 {
			s.log.InfoContext(ctx, "recordings deleted", "recordings", len(done.Deleted), "held", len(done.Held), "objects", done.Erased, "still_locked", done.Kept)
		}
		return nil
	}
	_, _, err := s.eraseQueued(ctx, false) // of a retention that was configured before
	return err
}
