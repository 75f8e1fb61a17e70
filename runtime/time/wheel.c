/* See wheel.h. A timer that is d ticks away is kept on the level whose slots are wide enough: level l has slots of 64^l ticks. Whenever
 * the wheel passes into a new slot of a level above the lowest, that slot's timers are put again, one level lower (a cascade).
 *
 * Invariant: each armed timer is in the slot that its own expiry tick selects on its level, and bit s of occupied[l] is set exactly if
 * slot[l][s] is not empty.
 */
#include "runtime/time/wheel.h"

#include <stdint.h>

#define SLOT_BITS 6
#define HORIZON ((uint64_t)1 << (SLOT_BITS * FILCH__WHEEL_LEVELS))

/* The first tick at whose start @when has passed. */
static uint64_t tick_of(filch_time when)
{
    uint64_t down = when >> FILCH__WHEEL_TICK_SHIFT;

    return (down << FILCH__WHEEL_TICK_SHIFT) == when ? down : down + 1;
}

static unsigned slot_of(uint64_t tick, unsigned level)
{
    return (unsigned)(tick >> (SLOT_BITS * level)) % FILCH__WHEEL_SLOTS;
}

/* The highest group of bits in which the two ticks differ decides. */
static unsigned level_of(uint64_t now, uint64_t tick)
{
    uint64_t differ = now ^ tick;

    return differ ? (63u - (unsigned)__builtin_clzll(differ)) / SLOT_BITS : 0;
}

void filch__wheel_init(struct filch__wheel *wheel, filch_time now)
{
    wheel->tick = now >> FILCH__WHEEL_TICK_SHIFT;
    for (unsigned l = 0; l < FILCH__WHEEL_LEVELS; l++) {
        wheel->occupied[l] = 0;
        for (unsigned s = 0; s < FILCH__WHEEL_SLOTS; s++)
            filch__list_init(&wheel->slot[l][s]);
    }
}

static void put(struct filch__wheel *wheel, struct filch__timer *timer)
{
    uint64_t tick = tick_of(timer->when);
    unsigned level, slot;

    if (tick <= wheel->tick)
        tick = wheel->tick + 1;
    level = level_of(wheel->tick, tick);
    if (level >= FILCH__WHEEL_LEVELS) {
        /* Beyond the horizon: waits in the slot of the last level that comes up last, and is put again then. */
        level = FILCH__WHEEL_LEVELS - 1;
        slot = (slot_of(wheel->tick, level) + FILCH__WHEEL_SLOTS - 1) % FILCH__WHEEL_SLOTS;
    } else {
        slot = slot_of(tick, level);
    }
    filch__list_push_back(&wheel->slot[level][slot], &timer->link);
    wheel->occupied[level] |= (uint64_t)1 << slot;
}

void filch__wheel_insert(struct filch__wheel *wheel, struct filch__timer *timer, filch_time when)
{
    timer->when = when;
    put(wheel, timer);
}

void filch__wheel_remove(struct filch__wheel *wheel, struct filch__timer *timer)
{
    struct filch__list *next = timer->link.next;
    struct filch__list *first = &wheel->slot[0][0];
    uintptr_t offset;

    filch__list_remove(&timer->link);
    if (!filch__list_is_empty(next))
        return;
    /* It was the last: `next` is the slot's sentinel, whose place tells which bit to clear. */
    offset = (uintptr_t)((struct filch__list *)next - first);
    wheel->occupied[offset / FILCH__WHEEL_SLOTS] &= ~((uint64_t)1 << offset % FILCH__WHEEL_SLOTS);
}

/* Moves everything out of a slot to the end of @to. */
static void take_slot(struct filch__wheel *wheel, unsigned level, unsigned slot, struct filch__list *to)
{
    struct filch__list *from = &wheel->slot[level][slot];
    struct filch__list *link;

    wheel->occupied[level] &= ~((uint64_t)1 << slot);
    while ((link = filch__list_pop_front(from)))
        filch__list_push_back(to, link);
}

/* The wheel has come to a tick where the slots of @level change: puts the timers of the new slot again. */
static void cascade(struct filch__wheel *wheel, unsigned level, struct filch__list *expired)
{
    struct filch__list again;
    struct filch__list *link;

    filch__list_init(&again);
    take_slot(wheel, level, slot_of(wheel->tick, level), &again);
    while ((link = filch__list_pop_front(&again))) {
        struct filch__timer *timer = filch_container_of(link, struct filch__timer, link);

        if (tick_of(timer->when) <= wheel->tick)
            filch__list_push_back(expired, link);
        else
            put(wheel, timer);
    }
}

/* The next tick, after the present one, at which any slot comes up; UINT64_MAX when the wheel is empty. */
static uint64_t next_event(const struct filch__wheel *wheel)
{
    uint64_t best = UINT64_MAX;

    for (unsigned l = 0; l < FILCH__WHEEL_LEVELS; l++) {
        unsigned shift = SLOT_BITS * l;
        unsigned here = slot_of(wheel->tick, l);
        uint64_t turned, tick;
        unsigned away;

        if (!wheel->occupied[l])
            continue;
        /* Rotated so that the slot after ours is bit 0. */
        turned = here == 63 ? wheel->occupied[l]
                            : wheel->occupied[l] >> (here + 1) | wheel->occupied[l] << (63 - here);
        away = (unsigned)__builtin_ctzll(turned) + 1;
        tick = ((wheel->tick >> shift) + away) << shift;
        if (tick < best)
            best = tick;
    }
    return best;
}

void filch__wheel_advance(struct filch__wheel *wheel, filch_time now, struct filch__list *expired)
{
    uint64_t until = now >> FILCH__WHEEL_TICK_SHIFT;

    while (wheel->tick < until) {
        uint64_t event = next_event(wheel);

        if (event > until) {
            wheel->tick = until;
            return;
        }
        wheel->tick = event;
        for (unsigned l = FILCH__WHEEL_LEVELS - 1; l > 0; l--)
            if ((event & (((uint64_t)1 << (SLOT_BITS * l)) - 1)) == 0)
                cascade(wheel, l, expired);
        take_slot(wheel, 0, slot_of(event, 0), expired);
    }
}

filch_time filch__wheel_next(const struct filch__wheel *wheel)
{
    uint64_t event = next_event(wheel);

    return event >= UINT64_MAX >> FILCH__WHEEL_TICK_SHIFT ? FILCH_NEVER : event << FILCH__WHEEL_TICK_SHIFT;
}

bool filch__wheel_is_valid(const struct filch__wheel *wheel)
{
    for (unsigned l = 0; l < FILCH__WHEEL_LEVELS; l++)
        for (unsigned s = 0; s < FILCH__WHEEL_SLOTS; s++) {
            const struct filch__list *slot = &wheel->slot[l][s];
            bool marked = wheel->occupied[l] >> s & 1;

            if (marked == filch__list_is_empty(slot) || slot->next->prev != slot || slot->prev->next != slot)
                return false;
        }
    return true;
}
