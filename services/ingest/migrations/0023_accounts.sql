-- A session may be that of an account of the OpenID provider instead of a key.
ALTER TABLE ${table:web_sessions}
    ADD COLUMN IF NOT EXISTS account         String COMMENT 'JSON: subject, scopes and users of an account, empty for a session of a key' AFTER key_id,
    ADD COLUMN IF NOT EXISTS sealed_id_token String COMMENT 'ID token of the account for its sign-out, encrypted with the token of the session' AFTER account;

${facade:web_sessions ADD COLUMN IF NOT EXISTS account String AFTER key_id, ADD COLUMN IF NOT EXISTS sealed_id_token String AFTER account};
