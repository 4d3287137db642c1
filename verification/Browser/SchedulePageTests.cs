using Harness.Stages;
using Microsoft.Playwright;
using Properties.Cli;
using Verify;

namespace Browser;

/// <summary>The page of <c>verify replay --html</c>, as one sees it.</summary>
[Trait("Category", "Browser")]
public sealed class SchedulePageTests(Chromium chromium) : IClassFixture<Chromium>
{
    [ChromiumFact]
    public async Task One_goes_through_the_steps_of_a_schedule()
    {
        using var terminal = new Terminal(new ScheduleStage(Stages.ScheduleWorker));
        Assert.Equal(ExitCode.Violation, terminal.Run("explore --fault early-detach --schedules 300 --workers 1 --failures found"));
        Assert.Equal(ExitCode.Violation, terminal.Run($"replay {Assert.Single(terminal.Files.Keys)} --html shown.html"));
        OpenedPage opened = await chromium.Open(Path.Combine(terminal.Folder, "shown.html"));
        IPage page = opened.Page;
        await Assertions.Expect(page.Locator("h1")).ToHaveTextAsync("I8 Isolation is broken");

        int steps = await page.Locator("#steps tbody tr[data-step]").CountAsync();
        Assert.InRange(steps, 3, 10_000);
        ILocator where = page.Locator("#where"), now = page.Locator("#steps tr.now");
        await Assertions.Expect(where).ToHaveTextAsync($"step {steps} of {steps}");
        await page.Keyboard.PressAsync("ArrowLeft");
        await page.Locator("#back").ClickAsync();
        await Assertions.Expect(where).ToHaveTextAsync($"step {steps - 2} of {steps}");
        await Assertions.Expect(now).ToHaveAttributeAsync("data-step", $"{steps - 2}");
        // The pages are as they were at that step.
        await Assertions.Expect(page.Locator("#pages td").First).ToHaveTextAsync((await now.GetAttributeAsync("data-page0"))!);
        await page.Keyboard.PressAsync("Home");
        await Assertions.Expect(where).ToHaveTextAsync($"step 1 of {steps}");

        // What does not matter is folded.
        ILocator minor = page.Locator("#steps tr.minor").First;
        await page.Locator("#on").ClickAsync();
        await page.Keyboard.PressAsync("End");
        await Assertions.Expect(minor).ToBeHiddenAsync();
        await page.Locator("#whole").CheckAsync();
        await Assertions.Expect(minor).ToBeVisibleAsync();
        Assert.Empty(opened.Errors);
        Assert.Empty(opened.Requests);
    }
}
