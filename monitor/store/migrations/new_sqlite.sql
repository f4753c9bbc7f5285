CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL,
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
)

CREATE TABLE organization (
	name TEXT NOT NULL,
	version BIGINT NOT NULL,
	horizon BIGINT,
	seen_at BIGINT NOT NULL, partial INTEGER DEFAULT '0' NOT NULL, place TEXT,
	PRIMARY KEY (name)
)

CREATE TABLE "counter" (
	metric TEXT NOT NULL,
	labels TEXT NOT NULL,
	amount BIGINT NOT NULL, carry BIGINT DEFAULT '0' NOT NULL,
	PRIMARY KEY (metric, labels)
)

CREATE TABLE job (
	org TEXT NOT NULL,
	id TEXT NOT NULL,
	status TEXT NOT NULL,
	model TEXT NOT NULL,
	created_at BIGINT NOT NULL,
	ended_at BIGINT,
	finalized INTEGER NOT NULL,
	stub INTEGER DEFAULT '0' NOT NULL,
	basis TEXT,
	doc TEXT NOT NULL, version BIGINT DEFAULT '0' NOT NULL, of_list TEXT,
	PRIMARY KEY (org, id)
)

CREATE TABLE event (
	pos INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
	org TEXT NOT NULL,
	job TEXT NOT NULL,
	id TEXT NOT NULL,
	at BIGINT NOT NULL,
	kind TEXT NOT NULL,
	step BIGINT,
	doc TEXT NOT NULL,
	CONSTRAINT event_identity UNIQUE (org, job, id)
)

CREATE TABLE transition (
	org TEXT NOT NULL,
	job TEXT NOT NULL,
	seq BIGINT NOT NULL,
	at BIGINT NOT NULL,
	kind TEXT NOT NULL,
	"before" TEXT,
	"after" TEXT NOT NULL,
	resumed INTEGER NOT NULL,
	restarted INTEGER NOT NULL,
	PRIMARY KEY (org, job, seq)
)

CREATE TABLE outbox (
	"key" TEXT NOT NULL,
	notifier TEXT NOT NULL,
	org TEXT NOT NULL,
	subject_id TEXT NOT NULL,
	seq BIGINT NOT NULL,
	message TEXT NOT NULL,
	state TEXT NOT NULL,
	created_at BIGINT NOT NULL,
	due_at BIGINT NOT NULL,
	touched_at BIGINT NOT NULL,
	attempts BIGINT NOT NULL,
	owner TEXT,
	ambiguous INTEGER NOT NULL,
	reason TEXT,
	settled_at BIGINT,
	reference TEXT, subject_kind TEXT DEFAULT 'job' NOT NULL, generation TEXT DEFAULT '' NOT NULL, answer TEXT, hold TEXT, bundle TEXT, redelivered INTEGER DEFAULT '0' NOT NULL, card INTEGER DEFAULT '0' NOT NULL,
	PRIMARY KEY ("key")
)

CREATE TABLE spending (
	org TEXT NOT NULL,
	job TEXT NOT NULL,
	at BIGINT NOT NULL,
	nanodollars BIGINT NOT NULL,
	doc TEXT NOT NULL,
	PRIMARY KEY (org, job)
)

CREATE TABLE usage (
	org TEXT NOT NULL,
	project TEXT NOT NULL,
	model TEXT NOT NULL,
	day TEXT NOT NULL,
	batch INTEGER NOT NULL,
	input BIGINT NOT NULL,
	cached_input BIGINT NOT NULL,
	output BIGINT NOT NULL,
	input_nanodollars BIGINT,
	cached_input_nanodollars BIGINT,
	output_nanodollars BIGINT,
	PRIMARY KEY (org, project, model, day, batch)
)

CREATE TABLE bill (
	org TEXT NOT NULL,
	project TEXT NOT NULL,
	line_item TEXT NOT NULL,
	day TEXT NOT NULL,
	nanodollars BIGINT NOT NULL,
	PRIMARY KEY (org, project, line_item, day)
)

CREATE TABLE "import_state" (
	org TEXT NOT NULL,
	usage_until TEXT,
	bill_until TEXT,
	PRIMARY KEY (org)
)

CREATE TABLE notice (
	id TEXT NOT NULL,
	topic TEXT NOT NULL,
	at BIGINT NOT NULL, judged_by TEXT,
	PRIMARY KEY (id)
)

CREATE TABLE tuned_model (
	org TEXT NOT NULL,
	id TEXT NOT NULL,
	base TEXT NOT NULL,
	shutdown TEXT,
	listed INTEGER NOT NULL,
	shared INTEGER NOT NULL,
	PRIMARY KEY (org, id)
)

CREATE TABLE watch (
	org TEXT NOT NULL,
	up INTEGER,
	since BIGINT NOT NULL,
	last_success BIGINT,
	next_poll BIGINT,
	trouble_reason TEXT,
	trouble_text TEXT,
	owner TEXT NOT NULL,
	PRIMARY KEY (org)
)

CREATE TABLE restore (
	at BIGINT NOT NULL,
	PRIMARY KEY (at)
)

CREATE TABLE progress (
	id INTEGER NOT NULL,
	number BIGINT NOT NULL,
	PRIMARY KEY (id)
)

CREATE TABLE hint (
	org TEXT NOT NULL,
	id TEXT NOT NULL,
	job TEXT NOT NULL,
	at BIGINT NOT NULL,
	settled INTEGER NOT NULL,
	PRIMARY KEY (org, id)
)

CREATE TABLE lease (
	org TEXT NOT NULL,
	owner TEXT NOT NULL,
	PRIMARY KEY (org)
)

CREATE TABLE replica (
	name TEXT NOT NULL,
	until BIGINT NOT NULL,
	PRIMARY KEY (name)
)

CREATE TABLE lane (
	name TEXT NOT NULL,
	owner TEXT,
	free_at BIGINT NOT NULL,
	PRIMARY KEY (name)
)

CREATE TABLE suspension (
	notifier TEXT NOT NULL,
	probe_at BIGINT NOT NULL,
	PRIMARY KEY (notifier)
)

CREATE TABLE card (
	subject_kind TEXT NOT NULL,
	org TEXT NOT NULL,
	subject_id TEXT NOT NULL,
	notifier TEXT NOT NULL,
	channel TEXT NOT NULL,
	place TEXT,
	reference TEXT,
	shown TEXT,
	changes BIGINT NOT NULL,
	edited_at BIGINT,
	due_at BIGINT,
	owner TEXT,
	attempts BIGINT NOT NULL,
	posts BIGINT NOT NULL, charts BIGINT DEFAULT '0' NOT NULL,
	PRIMARY KEY (subject_kind, org, subject_id, notifier, channel)
)

CREATE TABLE total (
	org TEXT NOT NULL,
	kind TEXT NOT NULL,
	name TEXT NOT NULL,
	number BIGINT NOT NULL,
	PRIMARY KEY (org, kind, name)
)

CREATE TABLE training_day (
	org TEXT NOT NULL,
	day BIGINT NOT NULL,
	dollars BIGINT NOT NULL,
	nanodollars BIGINT NOT NULL,
	PRIMARY KEY (org, day)
)

CREATE TABLE deployment (
	org TEXT NOT NULL,
	name TEXT NOT NULL,
	since BIGINT NOT NULL,
	model TEXT NOT NULL,
	until BIGINT NOT NULL,
	nanodollars BIGINT NOT NULL,
	PRIMARY KEY (org, name, since)
)

CREATE INDEX bill_day ON bill (org, day)

CREATE INDEX card_due ON card (notifier, due_at)

CREATE INDEX deployment_until ON deployment (org, until)

CREATE INDEX hint_age ON hint (at)

CREATE INDEX hint_open ON hint (settled, org)

CREATE INDEX job_ended ON job (ended_at)

CREATE INDEX job_finalized ON job (org, finalized, id, status)

CREATE INDEX job_in_status ON job (status, created_at, org, id)

CREATE INDEX job_listing ON job (created_at, org, id)

CREATE INDEX job_model ON job (org, model, created_at)

CREATE INDEX job_of_list ON job (org, id) WHERE of_list IS NOT NULL

CREATE INDEX job_of_org ON job (org, created_at, id)

CREATE INDEX job_status ON job (org, status, created_at, id)

CREATE INDEX job_version ON job (org, version)

CREATE INDEX notice_topic ON notice (topic)

CREATE INDEX outbox_bundle ON outbox (bundle)

CREATE INDEX outbox_due ON outbox (notifier, redelivered, due_at, created_at, org, subject_id) WHERE state = 'pending'

CREATE INDEX outbox_held ON outbox (notifier, hold, created_at, org, subject_id, seq) WHERE state = 'pending' AND hold IS NOT NULL

CREATE INDEX outbox_held_due ON outbox (notifier, due_at, hold) WHERE state = 'pending' AND hold IS NOT NULL

CREATE INDEX outbox_in_state ON outbox (state, created_at, "key")

CREATE INDEX outbox_listing ON outbox (created_at, "key")

CREATE INDEX outbox_order ON outbox (subject_kind, org, subject_id, notifier, state, seq)

CREATE INDEX outbox_settled ON outbox (settled_at)

CREATE INDEX spending_at ON spending (at)

CREATE INDEX tuned_model_end ON tuned_model (shutdown, org, id)

CREATE INDEX tuned_model_of_org ON tuned_model (org, shutdown, id)

CREATE INDEX usage_day ON usage (day)

CREATE TRIGGER job_delete_counted AFTER DELETE ON job FOR EACH ROW  BEGIN INSERT INTO total (org, kind, name, number) SELECT OLD.org, CASE WHEN substr(OLD.id, 1, 6) = 'batch:' THEN 'batch' ELSE 'job' END, OLD.status, -1 WHERE true AND NOT (OLD.status = 'unknown' AND OLD.ended_at IS NOT NULL) ON CONFLICT (org, kind, name) DO UPDATE SET number = total.number + excluded.number; INSERT INTO total (org, kind, name, number) SELECT OLD.org, 'unpriced', OLD.model, -1 WHERE true AND OLD.basis = 'unknown' ON CONFLICT (org, kind, name) DO UPDATE SET number = total.number + excluded.number; END

CREATE TRIGGER job_insert_counted AFTER INSERT ON job FOR EACH ROW  BEGIN INSERT INTO total (org, kind, name, number) SELECT NEW.org, CASE WHEN substr(NEW.id, 1, 6) = 'batch:' THEN 'batch' ELSE 'job' END, NEW.status, 1 WHERE true AND NOT (NEW.status = 'unknown' AND NEW.ended_at IS NOT NULL) ON CONFLICT (org, kind, name) DO UPDATE SET number = total.number + excluded.number; INSERT INTO total (org, kind, name, number) SELECT NEW.org, 'unpriced', NEW.model, 1 WHERE true AND NEW.basis = 'unknown' ON CONFLICT (org, kind, name) DO UPDATE SET number = total.number + excluded.number; END

CREATE TRIGGER job_update_counted AFTER UPDATE OF status, model, org, id, basis, ended_at ON job FOR EACH ROW WHEN (coalesce(OLD.status, '') <> coalesce(NEW.status, '') OR coalesce(OLD.model, '') <> coalesce(NEW.model, '') OR coalesce(OLD.org, '') <> coalesce(NEW.org, '') OR coalesce(OLD.id, '') <> coalesce(NEW.id, '') OR coalesce(OLD.basis, '') <> coalesce(NEW.basis, '') OR (OLD.ended_at IS NULL) <> (NEW.ended_at IS NULL)) BEGIN INSERT INTO total (org, kind, name, number) SELECT OLD.org, CASE WHEN substr(OLD.id, 1, 6) = 'batch:' THEN 'batch' ELSE 'job' END, OLD.status, -1 WHERE true AND NOT (OLD.status = 'unknown' AND OLD.ended_at IS NOT NULL) ON CONFLICT (org, kind, name) DO UPDATE SET number = total.number + excluded.number; INSERT INTO total (org, kind, name, number) SELECT OLD.org, 'unpriced', OLD.model, -1 WHERE true AND OLD.basis = 'unknown' ON CONFLICT (org, kind, name) DO UPDATE SET number = total.number + excluded.number; INSERT INTO total (org, kind, name, number) SELECT NEW.org, CASE WHEN substr(NEW.id, 1, 6) = 'batch:' THEN 'batch' ELSE 'job' END, NEW.status, 1 WHERE true AND NOT (NEW.status = 'unknown' AND NEW.ended_at IS NOT NULL) ON CONFLICT (org, kind, name) DO UPDATE SET number = total.number + excluded.number; INSERT INTO total (org, kind, name, number) SELECT NEW.org, 'unpriced', NEW.model, 1 WHERE true AND NEW.basis = 'unknown' ON CONFLICT (org, kind, name) DO UPDATE SET number = total.number + excluded.number; END

CREATE TRIGGER spending_delete_counted AFTER DELETE ON spending FOR EACH ROW  BEGIN INSERT INTO training_day (org, day, dollars, nanodollars) SELECT OLD.org, OLD.at / 86400000, -1 * (OLD.nanodollars / 1000000000), -1 * (OLD.nanodollars % 1000000000) WHERE true ON CONFLICT (org, day) DO UPDATE SET dollars = training_day.dollars + excluded.dollars, nanodollars = training_day.nanodollars + excluded.nanodollars; END

CREATE TRIGGER spending_insert_counted AFTER INSERT ON spending FOR EACH ROW  BEGIN INSERT INTO training_day (org, day, dollars, nanodollars) SELECT NEW.org, NEW.at / 86400000, 1 * (NEW.nanodollars / 1000000000), 1 * (NEW.nanodollars % 1000000000) WHERE true ON CONFLICT (org, day) DO UPDATE SET dollars = training_day.dollars + excluded.dollars, nanodollars = training_day.nanodollars + excluded.nanodollars; END

CREATE TRIGGER spending_update_counted AFTER UPDATE OF org, at, nanodollars ON spending FOR EACH ROW WHEN (coalesce(OLD.org, '') <> coalesce(NEW.org, '') OR OLD.at <> NEW.at OR OLD.nanodollars <> NEW.nanodollars) BEGIN INSERT INTO training_day (org, day, dollars, nanodollars) SELECT OLD.org, OLD.at / 86400000, -1 * (OLD.nanodollars / 1000000000), -1 * (OLD.nanodollars % 1000000000) WHERE true ON CONFLICT (org, day) DO UPDATE SET dollars = training_day.dollars + excluded.dollars, nanodollars = training_day.nanodollars + excluded.nanodollars; INSERT INTO training_day (org, day, dollars, nanodollars) SELECT NEW.org, NEW.at / 86400000, 1 * (NEW.nanodollars / 1000000000), 1 * (NEW.nanodollars % 1000000000) WHERE true ON CONFLICT (org, day) DO UPDATE SET dollars = training_day.dollars + excluded.dollars, nanodollars = training_day.nanodollars + excluded.nanodollars; END

CREATE TRIGGER tuned_model_delete_counted AFTER DELETE ON tuned_model FOR EACH ROW  BEGIN INSERT INTO total (org, kind, name, number) SELECT OLD.org, 'shutdown', OLD.shutdown, -1 WHERE true AND OLD.shutdown IS NOT NULL ON CONFLICT (org, kind, name) DO UPDATE SET number = total.number + excluded.number; END

CREATE TRIGGER tuned_model_insert_counted AFTER INSERT ON tuned_model FOR EACH ROW  BEGIN INSERT INTO total (org, kind, name, number) SELECT NEW.org, 'shutdown', NEW.shutdown, 1 WHERE true AND NEW.shutdown IS NOT NULL ON CONFLICT (org, kind, name) DO UPDATE SET number = total.number + excluded.number; END

CREATE TRIGGER tuned_model_update_counted AFTER UPDATE OF org, shutdown ON tuned_model FOR EACH ROW WHEN (coalesce(OLD.org, '') <> coalesce(NEW.org, '') OR coalesce(OLD.shutdown, '') <> coalesce(NEW.shutdown, '')) BEGIN INSERT INTO total (org, kind, name, number) SELECT OLD.org, 'shutdown', OLD.shutdown, -1 WHERE true AND OLD.shutdown IS NOT NULL ON CONFLICT (org, kind, name) DO UPDATE SET number = total.number + excluded.number; INSERT INTO total (org, kind, name, number) SELECT NEW.org, 'shutdown', NEW.shutdown, 1 WHERE true AND NEW.shutdown IS NOT NULL ON CONFLICT (org, kind, name) DO UPDATE SET number = total.number + excluded.number; END

INSERT INTO alembic_version VALUES ('0019')

INSERT INTO progress VALUES (1, 0)
