import { render } from 'preact';
import './style/tokens.css';
import './style/base.css';
import './style/shell.css';
import './style/widgets.css';
import { Shell } from './shell/shell.js';
import { LANGUAGES, speak } from './text/text.js';
import { askWhoWeAre } from './state/me.js';
import './state/theme.js';

const wanted = window.localStorage.getItem('sockscope.language') ?? navigator.language.slice(0, 2);
await Promise.all([
  speak(LANGUAGES.find((each) => each === wanted) ?? 'en'),
  // Before the first page: it decides which pages there are.
  askWhoWeAre(),
]);
const root = document.getElementById('app');
if (root !== null) render(<Shell />, root);
