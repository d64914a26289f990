import { render } from 'preact';
import { App } from './app';
import * as machines from './state/machines';
import * as session from './state/session';
import { place } from './router';
import { keepFocus } from './ui/keep_focus';

session.me.subscribe((user) => { if (user === null) machines.forget(); });
machines.start();
keepFocus();
void session.begin(place.value.path);

const root = document.getElementById('app');
if (root) render(<App place={place} />, root);
