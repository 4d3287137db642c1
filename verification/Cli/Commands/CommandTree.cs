using System.CommandLine;
using System.CommandLine.Parsing;
using Verify.Running;

namespace Verify.Commands;

/// <summary>All commands.</summary>
internal static class CommandTree
{
    /// <summary>The option that shows the whole of an error.</summary>
    public const string Verbose = "--verbose";

    /// <summary>The root, with every command under it.</summary>
    public static RootCommand Build(Surroundings here)
    {
        var root = new RootCommand("Holds the Vcmm library and the IOMMU simulator to their specification.")
        {
            new Option<bool>(Verbose) { Description = "Show the whole of an unexpected error, stack trace included.", Recursive = true },
            RunCommand.Create(here),
            ExploreCommand.Create(here),
            ReplayCommand.Create(here),
            TraceCommand.Create(here),
            ModelCommand.Create(here),
            CoverageCommand.Create(here),
            MutateCommand.Create(here),
            MutantsCommand.Create(here),
            MuseumCommand.Create(here),
            SelfCheckCommand.Create(here),
            ReportCommand.Create(here),
            BenchCommand.Create(here),
        };
        root.Directives.Clear();
        return root;
    }

    /// <summary>Refuses a value that looks like an option: it is one that does not exist. A file may be named <c>./-x</c>.</summary>
    public static Argument<T> NoOption<T>(Argument<T> argument)
    {
        argument.Validators.Add(given =>
        {
            if (given.Tokens.Any(token => IsOption(token.Value))) given.AddError($"{argument.Name}: looks like an option");
        });
        return argument;
    }

    /// <summary>What is wrong with a command line, on one line.</summary>
    public static string Problem(ParseResult parsed)
    {
        Command command = parsed.CommandResult.Command;
        IEnumerable<string> values = parsed.CommandResult.Children.OfType<ArgumentResult>().SelectMany(argument => argument.Tokens).Select(token => token.Value);
        string? unknown = values.FirstOrDefault(IsOption) ?? parsed.UnmatchedTokens.FirstOrDefault();
        if (unknown is not null)
        {
            return command.Arguments is [var only, ..] && !IsOption(unknown)
                ? $"\"{unknown}\" is one argument too many for {NameOf(command)}; expected one {only.Name}"
                : $"\"{unknown}\" is not known to {NameOf(command)}; expected {Expected(command)}";
        }

        if (command.Subcommands.Count > 0) return $"no command is given; expected {Expected(command)} (see verify --help)";
        ParseError error = parsed.Errors[0];
        return (error.SymbolResult, error.SymbolResult?.Parent) switch
        {
            // Our own parsers name the option themselves.
            _ when error.Message.StartsWith('-') => error.Message,
            (OptionResult { Option: var option }, _) => WrongCount(option),
            (_, OptionResult { Option: var option }) => WrongCount(option),
            (ArgumentResult { Argument: var argument }, _) => $"{NameOf(command)}: {argument.Name} is missing; expected one",
            _ => error.Message,
        };
    }

    private static bool IsOption(string token) => token.StartsWith('-');

    private static string WrongCount(Option option) => option.Arity.MaximumNumberOfValues == 1
        ? $"{option.Name}: expected once, with one value{Named(option)}"
        : $"{option.Name}: expected a value{Named(option)}";

    private static string Named(Option option) => option.HelpName is { } name ? $": {option.Name} {name}" : "";

    private static string NameOf(Command command) => command is RootCommand ? "verify" : $"verify {command.Name}";

    private static string Expected(Command command)
    {
        IEnumerable<string> names = command.Subcommands.Count > 0
            ? command.Subcommands.Select(sub => sub.Name)
            : command.Arguments.Select(argument => argument.Name).Concat(command.Options.Where(option => !option.Hidden).Select(option => option.Name));
        return RunPlan.OneOf(names.Append(Verbose));
    }
}
