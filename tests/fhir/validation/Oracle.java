import ca.uhn.fhir.context.FhirContext;
import ca.uhn.fhir.context.support.DefaultProfileValidationSupport;
import ca.uhn.fhir.context.support.IValidationSupport;
import ca.uhn.fhir.validation.FhirValidator;
import ca.uhn.fhir.validation.SingleValidationMessage;
import ca.uhn.fhir.validation.ValidationOptions;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.hl7.fhir.common.hapi.validation.support.CommonCodeSystemsTerminologyService;
import org.hl7.fhir.common.hapi.validation.support.InMemoryTerminologyServerValidationSupport;
import org.hl7.fhir.common.hapi.validation.support.PrePopulatedValidationSupport;
import org.hl7.fhir.common.hapi.validation.support.SnapshotGeneratingValidationSupport;
import org.hl7.fhir.common.hapi.validation.support.ValidationSupportChain;
import org.hl7.fhir.common.hapi.validation.validator.FhirInstanceValidator;
import org.hl7.fhir.r5.utils.validation.constants.BestPracticeWarningLevel;

/**
 * HL7's instance validator over NDJSON: {@code Oracle (R4|R4B|R5 in.ndjson out.ndjson folder)...}, with the definitions
 * (*.json) of a folder ("" for none). Terminology is what the definitions and HAPI bring; nothing is asked of a network.
 * For each line of an input one line is written: {@code [[severity, message id, location, message], ...]}.
 */
public final class Oracle {
    private Oracle() {}

    public static void main(String[] arguments) throws Exception {
        // The definitions of a release are read once, whatever the number of inputs.
        Map<String, IValidationSupport> releases = new HashMap<>();
        for (int at = 0; at < arguments.length; at += 4) {
            IValidationSupport base = releases.computeIfAbsent(arguments[at], Oracle::base);
            String folder = arguments[at + 3];
            judge(base, Path.of(arguments[at + 1]), Path.of(arguments[at + 2]), folder.isEmpty() ? null : Path.of(folder));
        }
    }

    private static IValidationSupport base(String release) {
        return new DefaultProfileValidationSupport(
                switch (release) {
                    case "R4B" -> FhirContext.forR4B();
                    case "R5" -> FhirContext.forR5();
                    default -> FhirContext.forR4();
                });
    }

    private static void judge(IValidationSupport base, Path given, Path taken, Path folder) throws IOException {
        FhirContext context = base.getFhirContext();
        FhirInstanceValidator module = new FhirInstanceValidator(new ValidationSupportChain(
                base,
                definitions(context, folder),
                new CommonCodeSystemsTerminologyService(context),
                new InMemoryTerminologyServerValidationSupport(context),
                new SnapshotGeneratingValidationSupport(context)));
        module.setBestPracticeWarningLevel(BestPracticeWarningLevel.Ignore);
        module.setAnyExtensionsAllowed(true);
        FhirValidator validator = context.newValidator().registerValidatorModule(module);
        ObjectMapper mapper = new ObjectMapper();
        try (BufferedReader lines = Files.newBufferedReader(given, StandardCharsets.UTF_8);
                PrintStream out = new PrintStream(taken.toFile(), StandardCharsets.UTF_8)) {
            for (String line = lines.readLine(); line != null; line = lines.readLine()) {
                out.println(mapper.writeValueAsString(messages(validator, line)));
                out.flush();
            }
        }
    }

    private static PrePopulatedValidationSupport definitions(FhirContext context, Path folder) throws IOException {
        PrePopulatedValidationSupport known = new PrePopulatedValidationSupport(context);
        if (folder != null) {
            try (Stream<Path> files = Files.list(folder)) {
                for (Path file : (Iterable<Path>) files.filter(path -> path.toString().endsWith(".json")).sorted()::iterator) {
                    known.addResource(context.newJsonParser().parseResource(Files.readString(file)));
                }
            }
        }
        return known;
    }

    private static List<List<String>> messages(FhirValidator validator, String line) {
        List<List<String>> found = new ArrayList<>();
        try {
            for (SingleValidationMessage message :
                    validator.validateWithResult(line, new ValidationOptions()).getMessages()) {
                List<String> row = new ArrayList<>();
                row.add(message.getSeverity() == null ? "" : message.getSeverity().getCode());
                row.add(message.getMessageId());
                row.add(message.getLocationString());
                row.add(message.getMessage());
                found.add(row);
            }
        } catch (RuntimeException | StackOverflowError failure) {
            found.add(List.of("fatal", failure.getClass().getSimpleName(), "", String.valueOf(failure.getMessage())));
        }
        return found;
    }
}
