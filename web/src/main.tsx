/* Starts the screens. */
import { render } from 'preact';
import './styles/tokens.css';
import './styles/base.css';
import './styles/shell.css';
import './styles/parts.css';
import './styles/layers.css';
import './styles/chart.css';
import { startSession } from './api/session';
import { App } from './app';
import { startRouter } from './router';
import { startClips } from './ui/clip';
import { startTheme } from './ui/theme';

startTheme();
startRouter();
startClips();
void startSession();
const place = document.getElementById('app');
if (place) render(<App />, place);
