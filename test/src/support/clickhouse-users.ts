import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { INGEST } from './service-process.js';

/** Password of every user that the plan makes. */
export const PLANNED_PASSWORD = 'planned';

/**
 * Writes a configuration of ClickHouse with the users that `grants plan` prints, for a server that keeps
 * its users in a file: ours, an embedded one, has nowhere to store users of CREATE USER.
 *
 * @returns the file, for `startClickHouse`.
 */
export async function writePlannedUsers(dir: string): Promise<string> {
  const plan = execFileSync(process.execPath, [INGEST, 'grants', 'plan'], {
    env: {},
    encoding: 'utf8',
  });
  const users = new Map<string, { grants: string[]; profile: string }>();
  const profiles = new Map<string, string>();
  for (const statement of plan.split(';\n')) {
    const created = /^(?:--.*\n)?CREATE USER IF NOT EXISTS `(\w+)`/.exec(statement)?.[1];
    if (created !== undefined) users.set(created, { grants: [], profile: 'default' });
    const [, grant = '', grantee = ''] = /^(GRANT .*) TO `(\w+)`$/.exec(statement) ?? [];
    users.get(grantee)?.grants.push(grant);
    const [, user = '', profile = ''] =
      /^ALTER USER `(\w+)` .* SETTINGS PROFILE `(\w+)`$/.exec(statement) ?? [];
    const found = users.get(user);
    if (found !== undefined) found.profile = profile;
    const [, name, limits = ''] =
      /^ALTER SETTINGS PROFILE `(\w+)` SETTINGS (.*)$/.exec(statement) ?? [];
    if (name !== undefined) profiles.set(name, limits);
  }
  const usersFile = join(dir, 'users.xml');
  await writeFile(usersFile, usersXml(users, profiles));
  const configFile = join(dir, 'users-config.xml');
  await writeFile(
    configFile,
    `<clickhouse><user_directories><users_xml><path>${usersFile}</path></users_xml></user_directories></clickhouse>`,
  );
  return configFile;
}

function usersXml(
  users: ReadonlyMap<string, { readonly grants: readonly string[]; readonly profile: string }>,
  profiles: ReadonlyMap<string, string>,
): string {
  const hash = createHash('sha256').update(PLANNED_PASSWORD).digest('hex');
  const common = '<networks><ip>::/0</ip></networks><quota>default</quota>';
  const profileXml = [...profiles].map(([name, limits]) => {
    const each = [...limits.matchAll(/(\w+) = (\d+) MAX (\d+)/g)];
    const values = each.map(([, key, value]) => `<${key}>${value}</${key}>`).join('');
    const most = each.map(([, key, , max]) => `<${key}><max>${max}</max></${key}>`).join('');
    return `<${name}>${values}<constraints>${most}</constraints></${name}>`;
  });
  const userXml = [...users].map(([name, { grants, profile }]) => {
    const queries = grants.map((grant) => `<query>${grant}</query>`).join('');
    return `<${name}><password_sha256_hex>${hash}</password_sha256_hex>${common}<profile>${profile}</profile><grants>${queries}</grants></${name}>`;
  });
  return `<clickhouse>
<profiles><default/>${profileXml.join('\n')}</profiles>
<quotas><default/></quotas>
<users>
<default><password/>${common}<profile>default</profile></default>
<stranger><password_sha256_hex>${hash}</password_sha256_hex>${common}<profile>default</profile><grants><query>GRANT SELECT ON system.one</query></grants></stranger>
${userXml.join('\n')}
</users>
</clickhouse>`;
}
